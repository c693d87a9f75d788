"""The arrays that a forward pass writes: made once, reused by every pass after."""

from __future__ import annotations

import numpy as np

from vimnp.config import CHANNELS, VimConfig
from vimnp.kernels import ScanInputs
from vimnp.parameters import DirectionParameters


class DirectionSpace:
    """The arrays of one direction of a mixer."""

    def __init__(self, config: VimConfig) -> None:
        length, d_inner, d_state = config.num_tokens, config.d_inner, config.d_state
        dt_rank = config.dt_rank
        assert dt_rank is not None
        self.u = np.empty((length, d_inner), np.float32)
        self.x_dbl = np.empty((length, dt_rank + 2 * d_state), np.float32)
        self.delta = np.empty((length, d_inner), np.float32)
        self.dt, self.B, self.C = np.split(self.x_dbl, [dt_rank, dt_rank + d_state], axis=1)

    def scan_inputs(self, parameters: DirectionParameters) -> ScanInputs:
        return ScanInputs(
            self.u, self.delta, parameters.A, self.B, self.C, parameters.D, parameters.dt_bias
        )


class Workspace:
    """Every array that a forward pass writes, made once and reused."""

    def __init__(self, config: VimConfig) -> None:
        length, embed_dim, d_inner = config.num_tokens, config.embed_dim, config.d_inner
        patch = (CHANNELS, config.patch_size, config.patch_size)
        self.patches = np.empty((*config.grid_size, *patch), np.float32)
        self.residual = np.empty((length, embed_dim), np.float32)
        self.normed = np.empty((length, embed_dim), np.float32)
        self.statistic = np.empty((length, 1), np.float32)
        self.xz = np.empty((length, 2 * d_inner), np.float32)
        self.x, self.z = np.split(self.xz, 2, axis=1)
        self.forward = DirectionSpace(config)
        self.backward = DirectionSpace(config)
        self.y = np.empty((length, d_inner), np.float32)
        self.hidden = np.empty((length, embed_dim), np.float32)
