"""What one layer of Vim-tiny asks of the kernels: arrays of 384 channels, 16 states; and calls."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from vimnp.ops import kernels
from vimnp.ops.kernels import Filter, ScanInputs, aligned_empty

EMBED_DIM, D_INNER, D_STATE, DT_RANK, D_CONV = 192, 384, 16, 12, 4
RNG = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    """Standard normal numbers, float32, beginning at a cache line."""
    array = aligned_empty(*shape)
    array[...] = RNG.standard_normal(shape)
    return array


def scan_inputs(length: int) -> ScanInputs:
    """One direction, with step sizes of about 0.02 after the softplus, as in a trained network."""
    x_dbl = normal(length, DT_RANK + 2 * D_STATE)
    _, B, C = np.split(x_dbl, [DT_RANK, DT_RANK + D_STATE], axis=1)
    A = -np.arange(1, D_STATE + 1, dtype=np.float32)[:, None] * np.ones(D_INNER, np.float32)
    u, delta = normal(length, D_INNER), normal(length, D_INNER)
    delta -= 4
    return ScanInputs(u, delta, A, B, C, normal(D_INNER), normal(D_INNER))


def scan(length: int, num_threads: int) -> partial[None]:
    """A call that scans a layer in both directions, softplus and gate included."""
    return partial(
        kernels.selective_scan,
        (scan_inputs(length), scan_inputs(length)),
        normal(length, 2 * D_INNER)[:, D_INNER:],
        aligned_empty(length, D_INNER),
        delta_softplus=True,
        if_divide_out=True,
        scan_mode="fused",
        num_threads=num_threads,
    )


def convolution(length: int, num_threads: int) -> Callable[[], None]:
    """A call that convolves a layer's x in both directions, bias and SiLU included."""
    filters = tuple(Filter(normal(D_CONV, D_INNER), normal(D_INNER)) for _ in range(2))
    return partial(
        kernels.causal_conv1d,
        normal(length, 2 * D_INNER)[:, :D_INNER],
        filters,
        (aligned_empty(length, D_INNER), aligned_empty(length, D_INNER)),
        silu=True,
        num_threads=num_threads,
    )


def add_norm(length: int, num_threads: int) -> Callable[[], None]:
    """A call that adds to the residual and normalises it."""
    hidden = normal(length, EMBED_DIM)
    hidden *= np.float32(1e-6)  # so that the residual stays about the same over many calls
    return partial(
        kernels.fused_add_norm,
        normal(length, EMBED_DIM),
        hidden,
        normal(EMBED_DIM),
        None,
        aligned_empty(length, EMBED_DIM),
        epsilon=1e-5,
        num_threads=num_threads,
    )
