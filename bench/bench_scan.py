"""One layer's operations in Vim-tiny: the scan of both directions, and one convolution.

    pytest bench/bench_scan.py

Sizes: 197 tokens, 384 channels, 16 states, token-major, with softplus and gate.
"""

from __future__ import annotations

import numpy as np
import pytest

import vimnp
from vimnp import kernels
from vimnp.kernels import ScanInputs, aligned_empty
from vimnp.reference import BIDIRECTIONAL_METHODS

LENGTH, D_INNER, D_STATE, DT_RANK, D_CONV = 197, 384, 16, 12, 4
RNG = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    array = aligned_empty(*shape)
    array[...] = RNG.standard_normal(shape)
    return array


def scan_inputs(length: int = LENGTH) -> ScanInputs:
    x_dbl = normal(length, DT_RANK + 2 * D_STATE)
    _, B, C = np.split(x_dbl, [DT_RANK, DT_RANK + D_STATE], axis=1)
    A = -np.arange(1, D_STATE + 1, dtype=np.float32)[:, None] * np.ones(D_INNER, np.float32)
    u, delta = normal(length, D_INNER), normal(length, D_INNER)
    delta -= 4
    return ScanInputs(u, delta, A, B, C, normal(D_INNER), normal(D_INNER))


@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize("method", BIDIRECTIONAL_METHODS)
def test_scan(benchmark, implementation, method, num_threads):
    if implementation == "numpy" and num_threads > 1:
        pytest.skip("plain NumPy scans with one thread")
    directions, z = (scan_inputs(), scan_inputs()), normal(LENGTH, 2 * D_INNER)[:, D_INNER:]
    out = aligned_empty(LENGTH, D_INNER)
    benchmark.group = f"scan, {num_threads} threads"
    benchmark(
        kernels.selective_scan,
        directions,
        z,
        out,
        delta_softplus=True,
        if_divide_out=True,
        method=method,
        num_threads=num_threads,
    )


def test_conv(benchmark, implementation):
    x, out = normal(LENGTH, 2 * D_INNER)[:, :D_INNER], normal(LENGTH, D_INNER)
    benchmark.group = "conv"
    benchmark(
        kernels.causal_conv1d,
        x,
        (kernels.Filter(normal(D_CONV, D_INNER), normal(D_INNER)),),
        (out,),
        silu=True,
        num_threads=1,
    )


def test_scan_with_transposes(benchmark):
    """The public operation: the original's layout (b, d, l) costs a transpose of every array."""

    def channel_major() -> vimnp.Direction:
        direction = scan_inputs().channel_major()
        return vimnp.Direction(*(array if array.ndim < 2 else array.copy() for array in direction))

    forward, backward, z = channel_major(), channel_major(), normal(1, D_INNER, LENGTH)
    benchmark.group = "scan, 1 threads"
    benchmark(
        vimnp.selective_scan_bidirectional,
        forward, backward, z, True, True, num_threads=1,
    )  # fmt: skip


def moved(array: np.ndarray, floats: int) -> np.ndarray:
    """The same numbers, beginning so many floats after a cache line."""
    buffer = aligned_empty(array.size + floats)[floats:].reshape(array.shape)
    buffer[...] = array
    return buffer


@pytest.mark.parametrize("floats", [0, 4])
@pytest.mark.parametrize("length", [197, 1025, 4097])
def test_scan_beside_cache_lines(benchmark, length, floats):
    """What it costs that arrays begin 16 bytes after a cache line, as NumPy's own often do."""
    directions = []
    for direction in (scan_inputs(length), scan_inputs(length)):
        u, delta = moved(direction.u, floats), moved(direction.delta, floats)
        directions.append(direction._replace(u=u, delta=delta))
    z = moved(normal(length, 2 * D_INNER), floats)[:, D_INNER:]
    benchmark.group = f"scan, {length} tokens, floats after a cache line"
    benchmark(
        kernels.selective_scan,
        tuple(directions),
        z,
        moved(normal(length, D_INNER), floats),
        delta_softplus=True,
        if_divide_out=True,
        method="fused",
        num_threads=1,
    )
