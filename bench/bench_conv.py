"""What else a layer of Vim-tiny does between its products: convolutions of both directions, norm.

pytest bench/bench_conv.py
"""

from __future__ import annotations

import pytest
from layer_arrays import LENGTHS, add_norm, convolution

from vimnp.ops import kernels

OPERATIONS = {"causal_conv1d": convolution, "fused_add_norm": add_norm}


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_between_products(benchmark, implementation, monkeypatch, operation, num_threads, length):
    if implementation == "numpy" and num_threads > 1:
        pytest.skip("plain NumPy convolves and normalises with one thread")
    # The second thread is measured also where the kernels would not wake it.
    monkeypatch.setitem(kernels._LEAST_ELEMENTS, operation, 0)
    benchmark.group = f"{operation}, {length} tokens, {num_threads} threads"
    benchmark(OPERATIONS[operation](length, num_threads))
