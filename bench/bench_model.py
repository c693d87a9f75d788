"""Vim-tiny from normalised pixels to logits: scan modes, threads of the kernels and of BLAS.

pytest bench/bench_model.py
"""

from __future__ import annotations

import numpy as np
import pytest
from limits import blas_as_it_is_set, network
from threadpoolctl import threadpool_limits

import vimnp
from vimnp.ops.modes import SCAN_MODES

PIXELS = np.random.default_rng(0).standard_normal((3, 224, 224)).astype(np.float32)


def run(
    benchmark, group: str, scan: str, num_threads: int, blas_threads: int, batch: int = 1
) -> None:
    with blas_as_it_is_set():
        model = vimnp.VimTiny.random(scan=scan, num_threads=num_threads, backend="numpy")
    benchmark.group = group
    with threadpool_limits(blas_threads, user_api="blas"):
        benchmark.pedantic(model, (np.stack([PIXELS] * batch),), rounds=15, warmup_rounds=2)


@pytest.mark.parametrize("batch", [1, 8])
@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize("scan", SCAN_MODES)
def test_scan_modes(benchmark, scan, num_threads, batch):
    group = f"scan modes, batch {batch}, {num_threads} threads of kernels and of BLAS"
    run(benchmark, group, scan, num_threads, num_threads, batch)


@pytest.mark.parametrize("blas_threads", [1, 2])
@pytest.mark.parametrize("num_threads", [1, 2, 4, 16])
def test_threads(benchmark, num_threads, blas_threads):
    run(benchmark, "threads of the kernels - of BLAS", "fused", num_threads, blas_threads)


@pytest.mark.parametrize("side", [224, 512, 1024])
def test_picture_sizes(benchmark, side):
    """197, 1025 and 4097 tokens: the time grows with their number, not with its square."""
    model, pixels = network(side)
    benchmark.group = "picture sizes, one thread each"
    with threadpool_limits(1, user_api="blas"):
        benchmark.pedantic(model, (pixels,), rounds=5, warmup_rounds=1)


def test_fresh_workspace(benchmark):
    """What it would cost to allocate every array in every pass: to hold against fused."""
    model = vimnp.VimTiny.random(num_threads=1, backend="numpy")
    benchmark.group = "scan modes, batch 1, 1 threads of kernels and of BLAS"

    def forget_workspace() -> None:
        model._network._spares._unused.clear()

    with threadpool_limits(1, user_api="blas"):
        benchmark.pedantic(model, (PIXELS,), setup=forget_workspace, rounds=15, warmup_rounds=2)


def test_plain_numpy(benchmark, monkeypatch):
    monkeypatch.setattr(vimnp.runtime.extension, "_scan", None)
    model = vimnp.VimTiny.random()
    benchmark.group = "plain NumPy"
    with threadpool_limits(1, user_api="blas"):
        benchmark.pedantic(model, (PIXELS,), rounds=3)
