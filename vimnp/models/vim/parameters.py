"""The network's parameters, in the layout that its arithmetic reads.

Matrices are laid out as their products read them, A is computed from ``A_log``, and what only
scales a layer's output goes into ``out_proj``: once, when a model is made.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from vimnp.models.vim import rope
from vimnp.models.vim.config import VimConfig
from vimnp.ops.kernels import LINE, aligned_empty

_SMALLEST_BLOCK, _LARGEST_BLOCK = 1 << 10, 1 << 21  # floats; NumPy's large arrays are of 4 MB

Reader = Callable[[str], np.ndarray]
"""Gives a tensor by its name in the PyTorch state dict, float32."""

Empty = Callable[..., np.ndarray]
"""Makes an array of float32 of a shape, not initialised, that begins at a cache line."""

Layout = Callable[[np.ndarray, Empty], np.ndarray]
"""Makes of a matrix (out, in) what a product reads: a copy, it may hold a file's own bytes."""

Load = Callable[[Layout], "Parameters"]
"""Gives a network's parameters, with the matrices laid out."""


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


class Room:
    """Memory for all parameters, in a few large blocks.

    For large arrays NumPy asks the system for pages of 2 MB. The hundreds of small ones that a
    network has would each take pages of 4 KB, 7,000 of them in Vim-tiny, and to be given those is
    a large part of loading.

    Parameters
    ----------
    wanted : int
        Floats in all, about: what exceeds it gets smaller blocks.
    """

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self._block = np.empty(0, np.float32)

    @classmethod
    def of(cls, config: VimConfig) -> Room:
        """For a network, with what fills vectors and lines."""
        return cls(config.num_parameters * 26 // 25)

    def empty(self, *shape: int) -> np.ndarray:
        """An array of float32, not initialised, that begins at a cache line."""
        size = math.prod(shape)
        if size > len(self._block):
            usual = min(max(self._wanted, _SMALLEST_BLOCK), _LARGEST_BLOCK)
            self._block = aligned_empty(max(size, usual))
        self._wanted -= size
        array = self._block[:size].reshape(shape)
        self._block = self._block[size + -size % LINE :]
        return array

    def copy(self, array: np.ndarray) -> np.ndarray:
        """A contiguous copy."""
        copy = self.empty(*array.shape)
        copy[...] = array
        return copy


def transposed(matrix: np.ndarray, empty: Empty) -> np.ndarray:
    """A contiguous copy of the transpose: what NumPy's products read."""
    copy = empty(*matrix.shape[::-1])
    copy[...] = matrix.T
    return copy


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
    return _Loader(config, read, layout).parameters()


class _Loader:
    """Reads a network's tensors and places them in one room."""

    def __init__(self, config: VimConfig, read: Reader, layout: Layout) -> None:
        self._config = config
        self._read = read
        self._layout = layout
        self._room = Room.of(config)

    def parameters(self) -> Parameters:
        config = self._config
        patch_proj = self._read("patch_embed.proj.weight")
        return Parameters(
            patch_proj=self._laid_out(patch_proj.reshape(config.embed_dim, -1)),
            token_offset=self._token_offset(),
            rotation=rope.Rotation.read(config, self._read) if config.if_rope else None,
            layers=tuple(self._layer(index) for index in range(config.num_active_layers)),
            norm_f=self._norm("norm_f", config.num_active_layers),
            head=self._laid_out(self._read("head.weight")),
            head_bias=self._vector("head.bias"),
        )

    def _laid_out(self, matrix: np.ndarray) -> np.ndarray:
        return self._layout(matrix, self._room.empty)

    def _vector(self, name: str) -> np.ndarray:
        return self._room.copy(self._read(name))

    def _token_offset(self) -> np.ndarray:
        """Everything of the embedding but the patches themselves, (L, E).

        A patch's token is ``patch @ proj + bias + position``; the class token, which has no patch,
        is ``cls_token + position``.
        """
        config = self._config
        offset = self._room.empty(config.num_tokens, config.embed_dim)
        offset[...] = self._read("patch_embed.proj.bias")
        for name, position in config.class_tokens.items():
            offset[position] = self._read(name)[0, 0]
        if config.if_abs_pos_embed:
            offset += self._read("pos_embed")[0]
        return offset

    def _layer(self, index: int) -> Layer:
        prefix = f"layers.{index}"
        return Layer(
            norm=self._norm(f"{prefix}.norm", index),
            in_proj=self._laid_out(self._read(f"{prefix}.mixer.in_proj.weight")),
            directions=self._directions(f"{prefix}.mixer"),
            out_proj=self._laid_out(self._out_proj(f"{prefix}.mixer", index)),
            is_flipped=self._config.if_bidirectional and index % 2 == 1,
        )

    def _directions(self, prefix: str) -> tuple[DirectionParameters, ...]:
        config = self._config
        directions = [self._direction(prefix, suffix) for suffix in config.direction_suffixes]
        if config.bimamba_type == "v1" and config.num_directions == 2:  # the same, but for A
            directions.append(directions[0]._replace(A=self._state_matrix(f"{prefix}.A_b_log")))
        return tuple(directions)

    def _doublings(self, index: int) -> int:
        """How often the original's residual has doubled when this layer reads it.

        With ``if_bidirectional`` it does so with every pair of layers. Here it never does. Only
        epsilon tells a norm the scale of its input: so what a layer adds is halved as often as the
        residual would have doubled, and epsilon, which is added to squares, is halved twice as
        often. Powers of two cost no precision.
        """
        return index // 2 if self._config.if_bidirectional else 0

    def _out_proj(self, prefix: str, index: int) -> np.ndarray:
        """(E, Dn), scaled by ``gamma``, and down by how often the residual then has doubled."""
        out_proj = self._read(f"{prefix}.out_proj.weight")
        if self._config.if_layer_scale:
            out_proj = out_proj * self._read(f"{prefix}.gamma")[:, None]
        doublings = self._doublings(index + 2)
        return np.ldexp(out_proj, -doublings) if doublings else out_proj

    def _direction(self, prefix: str, suffix: str) -> DirectionParameters:
        conv_weight = self._read(f"{prefix}.conv1d{suffix}.weight")[:, 0]
        return DirectionParameters(
            conv_weight=transposed(conv_weight, self._room.empty),
            conv_bias=self._vector(f"{prefix}.conv1d{suffix}.bias"),
            x_proj=self._laid_out(self._read(f"{prefix}.x_proj{suffix}.weight")),
            dt_proj=self._laid_out(self._read(f"{prefix}.dt_proj{suffix}.weight")),
            dt_bias=self._vector(f"{prefix}.dt_proj{suffix}.bias"),
            A=self._state_matrix(f"{prefix}.A{suffix}_log"),
            D=self._vector(f"{prefix}.D{suffix}"),
        )

    def _state_matrix(self, name: str) -> np.ndarray:
        return transposed(-np.exp(self._read(name)), self._room.empty)

    def _norm(self, prefix: str, index: int) -> Norm:
        """The norm before the layer `index`, or the last one if there is no such layer."""
        bias = None if self._config.rms_norm else self._vector(f"{prefix}.bias")
        epsilon = math.ldexp(self._config.norm_epsilon, -2 * self._doublings(index))
        return Norm(self._vector(f"{prefix}.weight"), bias, epsilon)
