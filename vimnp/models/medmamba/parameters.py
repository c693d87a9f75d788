"""The network's parameters, in the layout that its arithmetic reads; see VMamba's.

Batch normalisation is no operation: it goes into the convolution before it, when a model is made.
The first, which has none before it, is a factor and a summand for each channel. They cannot go into
the convolution behind it, which has zeros around the grid, and not what the norm makes of zeros.
"""

from __future__ import annotations

from typing import Any, Generic, NamedTuple

import numpy as np

from vimnp.engine.packing import Matrix, PackMatrix
from vimnp.errors import WeightsError
from vimnp.models.medmamba.config import MedMambaConfig
from vimnp.models.medmamba.tensors import BRANCH
from vimnp.models.parameters import Norm, laid_out, matrix_fields
from vimnp.models.vmamba.parameters import MATRICES as VMAMBA_MATRICES
from vimnp.models.vmamba.parameters import CrossScan, Parameters, VMambaLoader
from vimnp.weights.family import ReadTensor


class Convolution(NamedTuple, Generic[Matrix]):
    """A convolution, in which the norm behind it is."""

    kernel: Matrix  # (taps * C / 2, C / 2); inputs (y, x, channel)
    bias: np.ndarray  # (C / 2,)


class Branch(NamedTuple, Generic[Matrix]):
    """The convolutions of the first half of the channels, each with ReLU."""

    factor: np.ndarray  # (1, C / 2), of the first norm
    summand: np.ndarray  # (C / 2,)
    convolutions: tuple[Convolution[Matrix], ...]  # of 3x3, 3x3 and 1x1 tokens


class Block(NamedTuple, Generic[Matrix]):
    """Norm and cross-scan of the last half of the channels, convolutions of the first."""

    norm: Norm
    op: CrossScan[Matrix]
    branch: Branch[Matrix]


MATRICES = VMAMBA_MATRICES | matrix_fields(Convolution)


def load_parameters(
    config: MedMambaConfig, read: ReadTensor, pack: PackMatrix[Matrix]
) -> Parameters[Matrix]:
    """Read every tensor once and lay it out, as VMamba's function of this name; blocks are ours."""
    loader = _Loader(config, read, pack)
    return Parameters(
        stem=loader.stem(),
        stages=loader.stages(),
        norm=None,
        head=loader.head(),
        head_bias=loader.head_bias(),
    )


def lay_out(
    config: MedMambaConfig, plain: Parameters[np.ndarray], pack: PackMatrix[Matrix]
) -> Parameters[Matrix]:
    """Lay out anew what a backend has laid out, and its ``plain`` has given."""
    return laid_out(plain, pack, MATRICES, config.num_parameters)


class _Loader(VMambaLoader[Matrix]):
    """Reads a MedMamba's tensors."""

    def block(self, prefix: str, stage: int) -> Any:
        """A :class:`Block`, where a VMamba has its own."""
        norm, op = self.normed_scan(prefix, stage)
        return Block(
            norm=norm,
            op=op,
            branch=self._branch(f"{prefix}.{BRANCH}"),
        )

    def _branch(self, prefix: str) -> Branch[Matrix]:
        factor, summand = self._batch_norm(f"{prefix}.0")
        return Branch(
            factor=self._arena.copy(factor[None]),
            summand=self._arena.copy(summand),
            convolutions=(
                self._convolved(f"{prefix}.1", *self._batch_norm(f"{prefix}.2")),
                self._convolved(f"{prefix}.4", *self._batch_norm(f"{prefix}.5")),
                self._convolved(f"{prefix}.7", np.float64(1), np.float64(0)),
            ),
        )

    def _convolved(self, name: str, factor: Any, summand: Any) -> Convolution[Matrix]:
        """A convolution whose results are multiplied, and added to."""
        weight = self._read(f"{name}.weight").transpose(0, 2, 3, 1)  # (outputs, y, x, channels)
        matrix = weight.reshape(len(weight), -1) * np.reshape(factor, (-1, 1))
        bias = self._read(f"{name}.bias") * factor + summand
        return Convolution(self._packed(matrix.astype(np.float32)), self._arena.copy(bias))

    def _batch_norm(self, prefix: str) -> tuple[np.ndarray, np.ndarray]:
        """By what it multiplies each channel and what it adds, float64 (channels,)."""
        weight, bias, mean, variance = (
            self._read(f"{prefix}.{part}").astype(np.float64)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        spread = variance + self._config.norm_epsilon
        if not (spread > 0).all():
            raise WeightsError(f"{prefix}.running_var has a number below 0; expected variances")
        factor = weight / np.sqrt(spread)
        return factor, bias - mean * factor
