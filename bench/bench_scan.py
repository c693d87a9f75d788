"""One layer's scan of both directions in Vim-tiny: modes, tokens, threads, instruction sets.

pytest bench/bench_scan.py
"""

from __future__ import annotations

import numpy as np
import pytest
from layer_arrays import LENGTHS, aligned_empty, normal, scan, scan_inputs

import vimnp
from vimnp.ops.modes import SCAN_MODES


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize("method", SCAN_MODES)
def test_scan(benchmark, implementation, method, num_threads, length):
    if implementation == "numpy" and num_threads > 1:
        pytest.skip("plain NumPy scans with one thread")
    benchmark.group = f"scan, {length} tokens, {num_threads} threads"
    benchmark(scan(length, num_threads, method))


def test_scan_with_transposes(benchmark):
    """The public operation: the original's layout (b, d, l) costs a transpose of every array."""

    def channel_major() -> vimnp.Direction:
        direction = scan_inputs(197).channel_major()
        return vimnp.Direction(*(array if array.ndim < 2 else array.copy() for array in direction))

    z = np.ascontiguousarray(normal(197, 384).T)[None]
    benchmark.group = "scan, 197 tokens, 1 threads"
    benchmark(
        vimnp.selective_scan_bidirectional,
        channel_major(), channel_major(), z, True, True, num_threads=1,
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
    call = scan(length, 1)
    directions, z, out = call.args
    directions = tuple(
        d._replace(u=moved(d.u, floats), delta=moved(d.delta, floats)) for d in directions
    )
    z = moved(np.concatenate([z, z], axis=1), floats)[:, z.shape[1] :]
    benchmark.group = f"scan, {length} tokens, floats after a cache line"
    benchmark(call.func, directions, z, moved(out, floats), **call.keywords)
