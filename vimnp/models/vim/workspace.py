"""The arrays that a forward pass writes: made once, reused by every pass after."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

import numpy as np

from vimnp.models.vim.config import CHANNELS, VimConfig
from vimnp.models.vim.parameters import DirectionParameters, Layer
from vimnp.ops.kernels import ScanInputs, aligned_empty

Space = TypeVar("Space")


class Spares(Generic[Space]):
    """Workspaces that no pass has at the moment.

    A pass takes one and gives it back; where there is none, it makes another. There are as many as
    passes have ever run at once, whatever threads they ran on, and a signal handler that comes in
    between gets one of its own. A list's ``pop`` and ``append`` need no lock.

    Parameters
    ----------
    make : callable
        Makes a workspace.
    """

    def __init__(self, make: Callable[[], Space]) -> None:
        self._make = make
        self._unused: list[Space] = []

    def __len__(self) -> int:
        return len(self._unused)

    @contextlib.contextmanager
    def one(self) -> Iterator[Space]:
        """A workspace for the time of a pass, whatever it holds."""
        try:
            space = self._unused.pop()
        except IndexError:
            space = self._make()
        try:
            yield space
        finally:
            self._unused.append(space)


class DirectionSpace:
    """What a mixer computes from x with one set of parameters."""

    def __init__(self, config: VimConfig) -> None:
        length, d_inner, d_state = config.num_tokens, config.d_inner, config.d_state
        dt_rank = config.dt_rank
        assert dt_rank is not None
        self.u = aligned_empty(length, d_inner)
        self.x_dbl = aligned_empty(length, dt_rank + 2 * d_state)
        self.delta = aligned_empty(length, d_inner)
        self.dt, self.B, self.C = np.split(self.x_dbl, [dt_rank, dt_rank + d_state], axis=1)

    def scan_inputs(self, layer: Layer, parameters: DirectionParameters) -> ScanInputs:
        """What a scan of this with a layer's parameters reads, in the layer's time."""
        return ScanInputs(
            layer.in_time(self.u),
            layer.in_time(self.delta),
            parameters.A,
            layer.in_time(self.B),
            layer.in_time(self.C),
            parameters.D,
            parameters.dt_bias,
        )


class Workspace:
    """Every array that a forward pass writes, made once and reused."""

    def __init__(self, config: VimConfig) -> None:
        length, embed_dim, d_inner = config.num_tokens, config.embed_dim, config.d_inner
        patch = (CHANNELS, config.patch_size, config.patch_size)
        self.patches = aligned_empty(*config.grid_size, *patch)
        self.residual = aligned_empty(length, embed_dim)
        self.normed = aligned_empty(length, embed_dim)
        self.xz = aligned_empty(length, 2 * d_inner)
        self.x, self.z = np.split(self.xz, 2, axis=1)
        self.computed = [DirectionSpace(config) for _ in config.direction_suffixes]
        # What each direction scans: in "v1" both the same.
        self.directions = self.computed * (config.num_directions // len(self.computed))
        self.y = self.x  # which is read before the scan writes: a sixth less memory to pass over
        self.hidden = aligned_empty(length, embed_dim)
        # Where options call for them: a second layer's output, the other channel of each pair.
        self.hidden_flipped = aligned_empty(length * config.if_bidirectional, embed_dim)
        self.partners = aligned_empty(length * config.if_rope, embed_dim)
