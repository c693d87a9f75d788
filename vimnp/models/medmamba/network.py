"""MedMamba in NumPy: VMamba's stages, of blocks of its own; see VMamba's ``network.py``."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from vimnp.engine.numpy_network import multiply
from vimnp.models.medmamba import parameters
from vimnp.models.vmamba.network import CrossScan, NumpyVMamba, Pass, StageArrays
from vimnp.ops.grids import token_patches

Block: TypeAlias = parameters.Block[np.ndarray]
Branch: TypeAlias = parameters.Branch[np.ndarray]


class NumpyMedMamba(NumpyVMamba):
    """The network on NumPy's matrix products, and kernels for the rest; as VMamba's."""

    def _block(self, w: Pass, s: StageArrays, block: Any) -> None:
        """s.residual (L, C): a :class:`Block`'s convolutions of its first half are added to it.

        So is the cross-scan of its last half. Both are shuffled: the convolutions have the even
        channels.
        """
        left, right = np.split(s.residual, 2, axis=1)
        self._norm(w, right, block.norm, s.normed)
        convolved = self._convolve_all(w, s, left, block.branch)
        self._cross_scan(w, s, block.op)
        with w.span("shuffle"):
            left, right = s.residual[:, 0::2], s.residual[:, 1::2]
            left += convolved
            right += s.hidden[:, : right.shape[1]]

    def _convolve_all(self, w: Pass, s: StageArrays, x: np.ndarray, branch: Branch) -> np.ndarray:
        """Tokens (L, C / 2) -> the same, through norms, convolutions and ReLUs."""
        with w.span("conv2d"):
            x = x * branch.factor + branch.summand
        for convolution in branch.convolutions:
            with w.span("conv"):
                side = 1 if len(convolution.kernel) == x.shape[1] else 3
                patches = token_patches(
                    x, grid=s.grid, kernel=(side, side), stride=1, padding=side // 2
                )
                x = np.matmul(patches, convolution.kernel)
                x += convolution.bias
                np.maximum(x, 0, out=x)
        return x

    def _out_proj(self, w: Pass, s: StageArrays, op: CrossScan) -> None:
        """s.normed_y (L, D) -> the first half of s.hidden (L, C / 2)."""
        with w.span("out_proj"):
            half = s.hidden.shape[1] // 2
            multiply(s.normed_y, op.out_proj, s.hidden[:, :half])
