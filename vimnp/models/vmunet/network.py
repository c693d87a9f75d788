"""VM-UNet in NumPy: VMamba's stages down, and up again; see :mod:`vimnp.models.vmamba.network`."""

from __future__ import annotations

import functools
from typing import Any, TypeAlias, cast

import numpy as np

from vimnp.engine.arena import Spares
from vimnp.models.vmamba import network
from vimnp.models.vmamba.network import Convolution, Merging, NumpyVMamba, StageArrays
from vimnp.models.vmamba.outputs import Output
from vimnp.models.vmunet import parameters
from vimnp.models.vmunet.config import SCALE, VMUNetConfig
from vimnp.ops.kernels import aligned_empty

Expansion: TypeAlias = parameters.Expansion[np.ndarray]


class Pass(network.Pass):
    """A VMamba's arrays, and what each stage began with, which the decoder adds."""

    def __init__(self, config: VMUNetConfig) -> None:
        super().__init__(config)
        self.skips = [aligned_empty(*s.residual.shape) for s in self.stages]


class NumpyVMUNet(NumpyVMamba):
    """The network on NumPy's matrix products, and kernels for the rest; as VMamba's."""

    _parameters: Any  # parameters.Parameters[np.ndarray], which has no classifier

    def __init__(self, config: VMUNetConfig, load: Any, num_threads: int) -> None:
        super().__init__(config, load, num_threads)
        self._config: VMUNetConfig = config
        self._spares = Spares(functools.partial(Pass, config))

    def _downsample(
        self,
        w: network.Pass,
        s: StageArrays,
        downsample: Convolution | Merging | None,
        to: StageArrays,
    ) -> None:
        """A stage's tokens -> the next one's, which are kept for the decoder."""
        super()._downsample(w, s, downsample, to)
        with w.span("skip"):
            cast("Pass", w).skips[w.stages.index(to)][...] = to.residual

    def _finish(self, w: network.Pass, out: np.ndarray, output: Output) -> None:
        """The decoder, and what each pixel shows."""
        layer = sum(self._config.depths)
        for number, stage in enumerate(self._parameters.decoder):
            index = self._config.num_stages - 1 - number
            if stage.expansion is not None:
                self._expand(cast("Pass", w), index + 1, stage.expansion)
            layer = self._blocks(w, w.stages[index], stage.blocks, layer)
        self._classify(w, out, output)

    def _expand(self, w: Pass, index: int, expansion: Expansion) -> None:
        """A stage's tokens, with those that it began with -> four times as many of the one before.

        A token becomes a square of two by two.
        """
        s, to = w.stages[index], w.stages[index - 1]
        with w.span("skip"):
            s.residual += w.skips[index]
        rows, _ = s.grid
        lines = to.hidden.reshape(rows, 2, -1)
        for number, line in enumerate(expansion.lines):
            with w.span("expand"):
                lines[:, number] = np.matmul(s.residual, line.expand).reshape(rows, -1)
        self._norm(w, to.hidden, expansion.norm, to.residual)

    def _classify(self, w: network.Pass, out: np.ndarray, output: Output) -> None:
        """The first stage's tokens -> logits or features of squares of pixels (H * W, channels)."""
        final = self._parameters.final
        with w.span("expand"):
            expanded = np.matmul(w.stages[0].residual, final.expand)
        pixels = expanded.reshape(len(expanded) * SCALE**2, -1)
        normed = out if output == "features" else np.empty_like(pixels)
        self._norm(w, pixels, final.norm, normed)
        if output == "logits":
            with w.span("head"):
                np.matmul(normed, final.head, out=out)
                out += final.head_bias
