"""The network's parameters, in the layout that its arithmetic reads.

Matrices are laid out as their products read them, A is computed from ``A_log``, and what only
scales a layer's output goes into ``out_proj``: once, when a model is made.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from vimnp import rope
from vimnp.config import VimConfig

Reader = Callable[[str], np.ndarray]
"""Gives a tensor by its name in the PyTorch state dict, float32."""

Layout = Callable[[np.ndarray], np.ndarray]
"""Makes of a matrix (out, in) what a product reads: a copy, it may hold a file's own bytes."""


class Norm(NamedTuple):
    """RMSNorm, or LayerNorm where there is a bias."""

    weight: np.ndarray  # (E,)
    bias: np.ndarray | None  # (E,)
    epsilon: float


class DirectionParameters(NamedTuple):
    """What one direction of a mixer has of its own."""

    conv_weight: np.ndarray  # (K, Dn)
    conv_bias: np.ndarray  # (Dn,)
    x_proj: np.ndarray  # (Dn, R + 2N)
    dt_proj: np.ndarray  # (R, Dn)
    dt_bias: np.ndarray  # (Dn,)
    A: np.ndarray  # (N, Dn)
    D: np.ndarray  # (Dn,)


class Layer(NamedTuple):
    """One block: norm and mixer."""

    norm: Norm
    in_proj: np.ndarray  # (E, 2 Dn)
    directions: tuple[DirectionParameters, ...]  # forward, and backward if there are two
    out_proj: np.ndarray  # (Dn, E), with all that scales the layer's output
    is_flipped: bool  # it reads the sequence backwards: its forward direction begins at the end

    def in_time(self, array: np.ndarray) -> np.ndarray:
        """A view of an array (L, ...), its tokens in the order in which the layer reads them."""
        return array[::-1] if self.is_flipped else array


class Parameters(NamedTuple):
    """The whole network."""

    patch_proj: np.ndarray  # (3 * patch * patch, E)
    token_offset: np.ndarray  # (L, E): what each token adds to its patch
    rotation: rope.Rotation | None  # of each layer's input
    layers: tuple[Layer, ...]
    norm_f: Norm
    head: np.ndarray  # (E, classes)
    head_bias: np.ndarray  # (classes,)

    @property
    def blocks(self) -> list[tuple[Layer, ...]]:
        """Layers that read the same tokens: one, or with if_bidirectional two."""
        number = 2 if self.layers[-1].is_flipped else 1
        return list(zip(*(self.layers[i::number] for i in range(number)), strict=True))


def transposed(matrix: np.ndarray) -> np.ndarray:
    """A contiguous copy of the transpose: what NumPy's products read."""
    return np.array(matrix.T, order="C")


def load_parameters(config: VimConfig, read: Reader, layout: Layout = transposed) -> Parameters:
    """Read every tensor once and lay it out.

    Parameters
    ----------
    config : VimConfig
    read : callable
        Gives each tensor of ``config.parameter_shapes()`` by name, in that shape. Called tensor by
        tensor, so that the original and the laid-out weights need not be in memory together.
    layout : callable
        Of the matrices that are multiplied with.

    Returns
    -------
    Parameters
    """
    patch_proj = read("patch_embed.proj.weight")
    return Parameters(
        patch_proj=layout(patch_proj.reshape(config.embed_dim, -1)),
        token_offset=_token_offset(config, read),
        rotation=rope.Rotation.read(read) if config.if_rope else None,
        layers=tuple(_layer(config, read, layout, i) for i in range(config.num_active_layers)),
        norm_f=_norm(config, read, "norm_f"),
        head=layout(read("head.weight")),
        head_bias=read("head.bias"),
    )


def _token_offset(config: VimConfig, read: Reader) -> np.ndarray:
    """Everything of the embedding but the patches themselves, (L, E).

    A patch's token is ``patch @ proj + bias + position``; the class token, which has no patch, is
    ``cls_token + position``.
    """
    offset = np.tile(read("patch_embed.proj.bias"), (config.num_tokens, 1))
    for name, position in config.class_tokens.items():
        offset[position] = read(name)[0, 0]
    if config.if_abs_pos_embed:
        offset += read("pos_embed")[0]
    return offset


def _layer(config: VimConfig, read: Reader, layout: Layout, index: int) -> Layer:
    prefix = f"layers.{index}"
    return Layer(
        norm=_norm(config, read, f"{prefix}.norm"),
        in_proj=layout(read(f"{prefix}.mixer.in_proj.weight")),
        directions=_directions(config, read, layout, f"{prefix}.mixer"),
        out_proj=layout(_out_proj(config, read, f"{prefix}.mixer")),
        is_flipped=config.if_bidirectional and index % 2 == 1,
    )


def _directions(
    config: VimConfig, read: Reader, layout: Layout, prefix: str
) -> tuple[DirectionParameters, ...]:
    directions = [_direction(read, layout, prefix, s) for s in config.direction_suffixes]
    if config.bimamba_type == "v1":  # backwards the same, but for A
        directions.append(directions[0]._replace(A=_state_matrix(read, f"{prefix}.A_b_log")))
    return tuple(directions)


def _out_proj(config: VimConfig, read: Reader, prefix: str) -> np.ndarray:
    """(E, Dn), scaled by ``gamma``, and so that two layers' sum is their mean."""
    out_proj = read(f"{prefix}.out_proj.weight")
    if config.if_layer_scale:
        out_proj = out_proj * read(f"{prefix}.gamma")[:, None]
    return out_proj / 2 if config.if_bidirectional else out_proj


def _direction(read: Reader, layout: Layout, prefix: str, suffix: str) -> DirectionParameters:
    return DirectionParameters(
        conv_weight=transposed(read(f"{prefix}.conv1d{suffix}.weight")[:, 0]),
        conv_bias=read(f"{prefix}.conv1d{suffix}.bias"),
        x_proj=layout(read(f"{prefix}.x_proj{suffix}.weight")),
        dt_proj=layout(read(f"{prefix}.dt_proj{suffix}.weight")),
        dt_bias=read(f"{prefix}.dt_proj{suffix}.bias"),
        A=_state_matrix(read, f"{prefix}.A{suffix}_log"),
        D=read(f"{prefix}.D{suffix}"),
    )


def _state_matrix(read: Reader, name: str) -> np.ndarray:
    return transposed(-np.exp(read(name)))


def _norm(config: VimConfig, read: Reader, prefix: str) -> Norm:
    bias = None if config.rms_norm else read(f"{prefix}.bias")
    return Norm(read(f"{prefix}.weight"), bias, config.norm_epsilon)


def random_reader(config: VimConfig, seed: int) -> Reader:
    """Tensors of the sizes and about the magnitudes that a trained network has.

    For benchmarks and tests: the initial values of the original (``_init_weights``, ``Mamba``'s
    constructor), with noise where they would all be equal.
    """
    shapes = config.parameter_shapes()
    tables = rope.tables(config) if config.if_rope else {}

    def read(name: str) -> np.ndarray:
        if name in tables:
            return tables[name]
        # Seeded by name, so that a tensor does not depend on which were read before it.
        generator = np.random.default_rng([seed, zlib.crc32(name.encode())])
        return _random_tensor(name, shapes[name], generator).astype(np.float32)

    return read


def _random_tensor(name: str, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    if name.endswith(("A_log", "A_b_log")):  # A = -1, -2, .. -N
        return np.log(np.arange(1, shape[1] + 1)) + 0.1 * generator.standard_normal(shape)
    if ".dt_proj" in name and name.endswith("bias"):  # steps from 0.001 to 0.1, before softplus
        step = np.exp(generator.uniform(math.log(1e-3), math.log(1e-1), shape))
        return np.log(np.expm1(step))
    if name.endswith((".D", ".D_b", ".gamma", "norm.weight", "norm_f.weight")):
        return 1.0 + 0.1 * generator.standard_normal(shape)
    if name.endswith("bias") or name == "pos_embed" or name.startswith("cls_token"):
        return 0.02 * generator.standard_normal(shape)
    inputs = math.prod(shape[1:])
    return generator.uniform(-1, 1, shape) / math.sqrt(inputs)
