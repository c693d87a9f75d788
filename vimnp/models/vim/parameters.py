"""The network's parameters, in the layout that its arithmetic reads.

Matrices are laid out as their products read them, A is computed from ``A_log``, and what only
scales a layer's output goes into ``out_proj``: once, when a model is made.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Generic, NamedTuple

import numpy as np

from vimnp.engine.packing import Matrix, PackMatrix
from vimnp.models.parameters import Loader, Norm, laid_out, matrix_fields
from vimnp.models.vim import rope
from vimnp.models.vim.config import VimConfig
from vimnp.weights.family import ReadTensor

Load = Callable[[PackMatrix[Any]], "Parameters[Any]"]
"""Gives a network's parameters, with the matrices laid out."""


class DirectionParameters(NamedTuple, Generic[Matrix]):
    """What one direction of a mixer has of its own."""

    conv_weight: np.ndarray  # (K, Dn)
    conv_bias: np.ndarray | None  # (Dn,)
    x_proj: Matrix  # (Dn, R + 2N)
    dt_proj: Matrix  # (R, Dn)
    dt_bias: np.ndarray  # (Dn,)
    A: np.ndarray  # (N, Dn)
    D: np.ndarray  # (Dn,)


class Layer(NamedTuple, Generic[Matrix]):
    """One block: norm and mixer."""

    norm: Norm
    in_proj: Matrix  # (E, 2 Dn)
    in_proj_bias: np.ndarray | None  # (2 Dn,)
    directions: tuple[DirectionParameters[Matrix], ...]  # forward, and backward if there are two
    out_proj: Matrix  # (Dn, E), with all that scales the layer's output
    out_proj_bias: np.ndarray | None  # (E,), with that too
    is_flipped: bool  # it reads the sequence backwards: its forward direction begins at the end

    def in_time(self, array: np.ndarray) -> np.ndarray:
        """A view of an array (L, ...), its tokens in the order in which the layer reads them."""
        return array[::-1] if self.is_flipped else array


class Parameters(NamedTuple, Generic[Matrix]):
    """The whole network."""

    patch_proj: Matrix  # (3 * patch * patch, E)
    token_offset: np.ndarray  # (L, E), in the sequence's order: what each token adds to its patch
    rotation: rope.Rotation | None  # of each layer's input
    layers: tuple[Layer[Matrix], ...]
    norm_f: Norm
    head: Matrix | None  # (E, classes); a backbone has none
    head_bias: np.ndarray | None  # (classes,)

    @property
    def blocks(self) -> list[tuple[Layer[Matrix], ...]]:
        """Layers that read the same tokens: one, or with if_bidirectional two."""
        number = 2 if self.layers[-1].is_flipped else 1
        return list(zip(*(self.layers[i::number] for i in range(number)), strict=True))


MATRICES = matrix_fields(Parameters, Layer, DirectionParameters)
"""Fields that a :data:`PackMatrix` has made."""


def load_parameters(
    config: VimConfig, read: ReadTensor, pack: PackMatrix[Matrix]
) -> Parameters[Matrix]:
    """Read every tensor once and lay it out.

    Parameters
    ----------
    config : VimConfig
    read : callable
        Gives each tensor of the network by name, in its shape. Called tensor by tensor, so that
        the original and the laid-out weights need not be in memory together.
    pack : callable
        Lays out a matrix that is multiplied with.

    Returns
    -------
    Parameters
    """
    return _Loader(config, read, pack).parameters()


def lay_out(
    config: VimConfig, plain: Parameters[np.ndarray], pack: PackMatrix[Matrix]
) -> Parameters[Matrix]:
    """Lay out anew what a backend has laid out, and its ``plain`` has given, in one arena.

    Nothing is computed, so that the bits stay the same.

    Parameters
    ----------
    config : VimConfig
    plain : Parameters
        Matrices are (inputs, outputs).
    pack : callable
        Lays out a matrix that is multiplied with.
    """
    return laid_out(plain, pack, MATRICES, config.num_parameters)


class _Loader(Loader[VimConfig, Matrix]):
    """Reads a Vision Mamba's tensors."""

    def parameters(self) -> Parameters[Matrix]:
        config = self._config
        return Parameters(
            patch_proj=self._matrix("patch_embed.proj.weight"),
            token_offset=self._token_offset(),
            rotation=rope.Rotation.read(config, self._read) if config.if_rope else None,
            layers=tuple(self._layer(index) for index in range(config.num_active_layers)),
            norm_f=self._scaled_norm("norm_f", config.num_active_layers),
            head=self._matrix("head.weight") if config.num_classes else None,
            head_bias=self._optional("head.bias"),
        )

    def _token_offset(self) -> np.ndarray:
        """Everything of the embedding but the patches themselves, (L, E).

        A patch's token is ``patch @ proj + bias + position``; the class token, which has no patch,
        is ``cls_token + position``. All that stands in the picture's order, and is turned at last.
        """
        config = self._config
        offset = self._arena.empty(config.num_tokens, config.embed_dim)
        offset[...] = self._read("patch_embed.proj.bias")
        for name, position in config.class_tokens.items():
            offset[position] = self._read(name)[0, 0]
        if config.if_abs_pos_embed:
            offset += self._read("pos_embed")[0]
        return np.ascontiguousarray(offset[::-1]) if config.flips_sequence else offset

    def _layer(self, index: int) -> Layer[Matrix]:
        prefix = f"layers.{index}"
        norm = self._scaled_norm(f"{prefix}.norm", index)
        norm, in_proj = self._smoothed(norm, f"{prefix}.mixer.in_proj.weight")
        return Layer(
            norm=norm,
            in_proj=in_proj,
            in_proj_bias=self._optional(f"{prefix}.mixer.in_proj.bias"),
            directions=self._directions(f"{prefix}.mixer"),
            out_proj=self._out_proj(f"{prefix}.mixer", index),
            out_proj_bias=self._out_proj_bias(f"{prefix}.mixer", index),
            is_flipped=self._config.if_bidirectional and index % 2 == 1,
        )

    def _directions(self, prefix: str) -> tuple[DirectionParameters[Matrix], ...]:
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

    def _out_proj(self, prefix: str, index: int) -> Matrix:
        matrix = self._as_matrix(f"{prefix}.out_proj.weight")
        if isinstance(matrix, np.ndarray):
            return self._packed(self._scaled(prefix, matrix, index))
        if not self._config.if_layer_scale and not self._doublings(index + 2):
            return self._packed(matrix)
        factors = self._scaled(prefix, np.ones(matrix.outputs, np.float32), index)
        return self._packed(matrix.scaled(factors))

    def _scaled(self, prefix: str, tensor: np.ndarray, index: int) -> np.ndarray:
        """A layer's output, (E, ...): by ``gamma``, and by how often the residual then has doubled.

        Down by the latter.
        """
        if self._config.if_layer_scale:
            gamma = self._read(f"{prefix}.gamma")
            tensor = tensor * gamma.reshape(-1, *[1] * (tensor.ndim - 1))
        doublings = self._doublings(index + 2)
        return np.ldexp(tensor, -doublings) if doublings else tensor

    def _out_proj_bias(self, prefix: str, index: int) -> np.ndarray | None:
        if not self._config.bias:
            return None
        bias = self._read(f"{prefix}.out_proj.bias")
        return self._arena.copy(self._scaled(prefix, bias, index))

    def _direction(self, prefix: str, suffix: str) -> DirectionParameters[Matrix]:
        return DirectionParameters(
            conv_weight=self._filter(f"{prefix}.conv1d{suffix}.weight"),
            conv_bias=self._optional(f"{prefix}.conv1d{suffix}.bias"),
            x_proj=self._matrix(f"{prefix}.x_proj{suffix}.weight"),
            dt_proj=self._matrix(f"{prefix}.dt_proj{suffix}.weight"),
            dt_bias=self._vector(f"{prefix}.dt_proj{suffix}.bias"),
            A=self._state_matrix(f"{prefix}.A{suffix}_log"),
            D=self._vector(f"{prefix}.D{suffix}"),
        )

    def _scaled_norm(self, prefix: str, index: int) -> Norm:
        """The norm before the layer `index`, or the last one if there is no such layer."""
        epsilon = math.ldexp(self._config.norm_epsilon, -2 * self._doublings(index))
        return self._norm(prefix, epsilon)
