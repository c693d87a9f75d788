"""The trap: NumPy's products and our scans in turn, two pools of threads that want the same cores.

    pytest bench/bench_alternation.py
    OMP_WAIT_POLICY=active pytest bench/bench_alternation.py

24 layers' `in_proj`, scan and `out_proj` in Vim-tiny, as they follow each other in a pass, and the
products and the scans each without the other. The second command makes our threads spin while
they wait, which is what OpenMP does if nobody asks for anything else.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from layer_arrays import D_INNER, EMBED_DIM, aligned_empty, normal, scan
from threadpoolctl import threadpool_limits

DEPTH, LENGTH = 24, 197


def product(inputs: int, outputs: int) -> Callable[[], None]:
    return partial(
        np.matmul,
        normal(LENGTH, inputs),
        normal(inputs, outputs),
        out=aligned_empty(LENGTH, outputs),
    )


def layers(part: str, num_threads: int) -> list[Callable[[], None]]:
    products = product(EMBED_DIM, 2 * D_INNER), product(D_INNER, EMBED_DIM)
    scans = scan(LENGTH, num_threads)
    of_layer = {
        "in turn": [products[0], scans, products[1]],
        "products alone": list(products),
        "scans alone": [scans],
    }
    return of_layer[part] * DEPTH


@pytest.mark.parametrize("blas_threads", [1, 2])
@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize("part", ["in turn", "products alone", "scans alone"])
def test_alternation(benchmark, part, num_threads, blas_threads):
    calls = layers(part, num_threads)

    def run() -> None:
        for call in calls:
            call()

    benchmark.group = f"kernels {num_threads}, BLAS {blas_threads} threads"
    with threadpool_limits(blas_threads, user_api="blas"):
        benchmark.pedantic(run, rounds=25, warmup_rounds=2)
