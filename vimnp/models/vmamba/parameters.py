"""The network's parameters, in the layout that its arithmetic reads.

Matrices are laid out as their products read them, A is computed from ``A_logs``, and the four D,
which multiply the same u, become one: once, when a model is made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, NamedTuple

import numpy as np

from vimnp.engine.packing import Matrix, PackMatrix, transposed
from vimnp.models.parameters import Loader, Norm, laid_out, matrix_fields
from vimnp.models.vmamba.config import DIRECTIONS, VMambaConfig
from vimnp.weights.family import ReadTensor

Load = Callable[[PackMatrix[Any]], "Parameters[Any]"]
"""Gives a network's parameters, with the matrices laid out."""


class DirectionParameters(NamedTuple, Generic[Matrix]):
    """What one of the four directions has of its own."""

    dt_proj: Matrix  # (R, D)
    dt_bias: np.ndarray  # (D,)
    A: np.ndarray  # (N, D)


class CrossScan(NamedTuple, Generic[Matrix]):
    """A block's operation, the original's SS2D."""

    in_proj: Matrix  # (C, D), or (C, 2 D) where gated
    conv_weight: np.ndarray  # (9, D), the filters' rows one after another
    conv_bias: np.ndarray | None  # (D,)
    x_proj: Matrix  # (D, 4 (R + 2N)): dt, B and C of a direction, then of the next
    directions: tuple[DirectionParameters[Matrix], ...]
    D: np.ndarray  # (D,), of all directions together
    out_norm: Norm
    out_proj: Matrix  # (D, C)


class Mlp(NamedTuple, Generic[Matrix]):
    """A block's second part, with its norm."""

    norm: Norm
    fc1: Matrix  # (C, hidden)
    fc1_bias: np.ndarray  # (hidden,)
    fc2: Matrix  # (hidden, C)
    fc2_bias: np.ndarray  # (C,)


class Block(NamedTuple, Generic[Matrix]):
    """Norm and cross-scan, then norm and MLP where there is one."""

    norm: Norm
    op: CrossScan[Matrix]
    mlp: Mlp[Matrix] | None


class Convolution(NamedTuple, Generic[Matrix]):
    """A convolution and the norm of what it gives."""

    kernel: Matrix  # (inputs, outputs); inputs of pixels (channel, y, x), of tokens (y, x, channel)
    bias: np.ndarray  # (outputs,)
    norm: Norm


class Merging(NamedTuple, Generic[Matrix]):
    """Patch merging: the norm of squares of tokens, and a product."""

    norm: Norm  # of 4 C: a square of tokens down its columns, (x, y, channel)
    reduction: Matrix  # (4 C, outputs)


class Stage(NamedTuple, Generic[Matrix]):
    """Blocks, and what leads on to the next stage."""

    blocks: tuple[Block[Matrix], ...]
    out_norm: Norm | None  # of a backbone
    downsample: Convolution[Matrix] | Merging[Matrix] | None


class Parameters(NamedTuple, Generic[Matrix]):
    """The whole network."""

    stem: tuple[Convolution[Matrix], ...]
    stages: tuple[Stage[Matrix], ...]
    norm: Norm | None  # before the pooling; of a backbone the last stage's
    head: Matrix | None  # (C of the last stage, classes)
    head_bias: np.ndarray | None  # (classes,)


MATRICES = matrix_fields(Parameters, DirectionParameters, CrossScan, Mlp, Convolution, Merging)
"""Fields that a :data:`PackMatrix` has made: none may have the name of a vector's field."""


def load_parameters(
    config: VMambaConfig, read: ReadTensor, pack: PackMatrix[Matrix]
) -> Parameters[Matrix]:
    """Read every tensor once and lay it out.

    Parameters
    ----------
    config : VMambaConfig
    read : callable
        Gives each tensor of the network by name, in its shape. Called tensor by tensor, so that
        the original and the laid-out weights need not be in memory together.
    pack : callable
        Lays out a matrix that is multiplied with.
    """
    return VMambaLoader(config, read, pack).parameters()


def load_cross_scan(
    config: VMambaConfig, read: ReadTensor, pack: PackMatrix[Matrix], prefix: str
) -> CrossScan[Matrix]:
    """The operation of the first stage's first block alone, by names without their prefix.

    Parameters
    ----------
    config, read, pack
        As for :func:`load_parameters`.
    prefix : str
        What the network has before the names.
    """
    loader = VMambaLoader(config, lambda name: read(name.removeprefix(prefix)), pack)
    return loader.cross_scan(prefix.removesuffix("."), 0, loader._matrix(f"{prefix}in_proj.weight"))


def lay_out(
    config: VMambaConfig, plain: Parameters[np.ndarray], pack: PackMatrix[Matrix]
) -> Parameters[Matrix]:
    """Lay out anew what a backend has laid out, and its ``plain`` has given, in one arena.

    Nothing is computed, so that the bits stay the same.

    Parameters
    ----------
    config : VMambaConfig
    plain : Parameters
        Matrices are (inputs, outputs).
    pack : callable
        Lays out a matrix that is multiplied with.
    """
    return laid_out(plain, pack, MATRICES, config.num_parameters)


class VMambaLoader(Loader[VMambaConfig, Matrix]):
    """Reads a VMamba's tensors, or what a network that stands on one shares with it."""

    def parameters(self) -> Parameters[Matrix]:
        stages = self.stages()
        return Parameters(
            stem=self.stem(),
            stages=stages,
            norm=stages[-1].out_norm or self._layer_norm("classifier.norm"),
            head=self.head(),
            head_bias=self.head_bias(),
        )

    def head(self) -> Matrix | None:
        return self._matrix("classifier.head.weight") if self._config.num_classes else None

    def head_bias(self) -> np.ndarray | None:
        return self._optional("classifier.head.bias")

    def stages(self) -> tuple[Stage[Matrix], ...]:
        return tuple(self._stage(stage) for stage in range(self._config.num_stages))

    def stem(self) -> tuple[Convolution[Matrix], ...]:
        pixels = self._read("patch_embed.0.weight")
        first = Convolution(
            kernel=self._packed(pixels.reshape(len(pixels), -1)),
            bias=self._vector("patch_embed.0.bias"),
            norm=self._layer_norm("patch_embed.2"),
        )
        if self._config.patch_embed == "v1":
            return (first,)
        return first, self._convolution("patch_embed.5", "patch_embed.7")

    def _stage(self, stage: int) -> Stage[Matrix]:
        config = self._config
        return Stage(
            blocks=tuple(
                self.block(f"layers.{stage}.blocks.{index}", stage)
                for index in range(config.depths[stage])
            ),
            out_norm=self._layer_norm(f"outnorm{stage}") if config.out_norms else None,
            downsample=None if stage == self._config.num_stages - 1 else self._downsample(stage),
        )

    def _downsample(self, stage: int) -> Convolution[Matrix] | Merging[Matrix]:
        prefix = f"layers.{stage}.downsample"
        if self._config.downsample != "v1":
            return self._convolution(f"{prefix}.1", f"{prefix}.3")
        return Merging(*self._normed(f"{prefix}.norm", f"{prefix}.reduction.weight"))

    def _convolution(self, name: str, norm: str) -> Convolution[Matrix]:
        """A convolution of tokens, whose weight is (outputs, channels, y, x) in the state dict."""
        weight = self._read(f"{name}.weight").transpose(0, 2, 3, 1)
        return Convolution(
            kernel=self._packed(weight.reshape(len(weight), -1)),
            bias=self._vector(f"{name}.bias"),
            norm=self._layer_norm(norm),
        )

    def block(self, prefix: str, stage: int) -> Block[Matrix]:
        norm, op = self.normed_scan(prefix, stage)
        return Block(
            norm=norm,
            op=op,
            mlp=self._mlp(prefix) if self._config.mlp_channels[stage] else None,
        )

    def normed_scan(self, prefix: str, stage: int) -> tuple[Norm, CrossScan[Matrix]]:
        """A block's operation, and the norm of what it reads."""
        norm, in_proj = self._normed(f"{prefix}.norm", f"{prefix}.op.in_proj.weight")
        return norm, self.cross_scan(f"{prefix}.op", stage, in_proj)

    def cross_scan(self, prefix: str, stage: int, in_proj: Matrix) -> CrossScan[Matrix]:
        d_inner = self._config.d_inner[stage]
        filters = self._read(f"{prefix}.conv2d.weight").reshape(d_inner, 9)
        D = self._read(f"{prefix}.Ds").reshape(DIRECTIONS, d_inner)
        out_norm, out_proj = self._normed(f"{prefix}.out_norm", f"{prefix}.out_proj.weight")
        return CrossScan(
            in_proj=in_proj,
            conv_weight=transposed(filters, self._arena.empty),
            conv_bias=self._optional(f"{prefix}.conv2d.bias"),
            x_proj=self._matrix(f"{prefix}.x_proj_weight"),
            directions=self._directions(prefix, d_inner),
            D=self._arena.copy(D.sum(axis=0, dtype=np.float64)),
            out_norm=out_norm,
            out_proj=out_proj,
        )

    def _directions(self, prefix: str, d_inner: int) -> tuple[DirectionParameters[Matrix], ...]:
        dt_weights = self._read(f"{prefix}.dt_projs_weight")
        dt_biases = self._read(f"{prefix}.dt_projs_bias")
        A_logs = self._read(f"{prefix}.A_logs").reshape(DIRECTIONS, d_inner, -1)
        return tuple(
            DirectionParameters(
                dt_proj=self._packed(weight),
                dt_bias=self._arena.copy(bias),
                A=transposed(-np.exp(A_log), self._arena.empty),
            )
            for weight, bias, A_log in zip(dt_weights, dt_biases, A_logs, strict=True)
        )

    def _mlp(self, prefix: str) -> Mlp[Matrix]:
        norm, fc1 = self._normed(f"{prefix}.norm2", f"{prefix}.mlp.fc1.weight")
        return Mlp(
            norm=norm,
            fc1=fc1,
            fc1_bias=self._vector(f"{prefix}.mlp.fc1.bias"),
            fc2=self._matrix(f"{prefix}.mlp.fc2.weight"),
            fc2_bias=self._vector(f"{prefix}.mlp.fc2.bias"),
        )

    def _normed(self, norm: str, matrix: str) -> tuple[Norm, Matrix]:
        """A norm, and the matrix that alone reads what it gives (where gated, times the gate)."""
        return self._smoothed(self._layer_norm(norm), matrix)

    def _layer_norm(self, prefix: str) -> Norm:
        return self._norm(prefix, self._config.norm_epsilon)
