"""Inputs of the scan as the kernels take them."""

from __future__ import annotations

import numpy as np

from vimnp.ops.kernels import ScanInputs


def one_direction(
    rng: np.random.Generator,
    length: int,
    channels: int,
    d_state: int,
    constant: tuple[bool, bool] = (False, False),
    *,
    large_steps: bool = False,
) -> ScanInputs:
    """Random ones; `constant` says whether B and C are the same at all times.

    With `large_steps`, some tokens have a delta whose decay is zero in float32, next to others that
    hardly decay at all.
    """

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    B, C = (normal(*((d_state, channels) if fixed else (length, d_state))) for fixed in constant)
    delta = normal(length, channels) - 2
    if large_steps:
        delta[rng.random((length, channels)) < 0.02] += 300
    return ScanInputs(
        normal(length, channels),
        delta,
        -np.exp(normal(d_state, channels)),
        B,
        C,
        normal(channels),
        normal(channels),
        *constant,
    )
