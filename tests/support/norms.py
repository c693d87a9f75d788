"""The norm of the residual stream, and its truth, for the tests of what it gives."""

from __future__ import annotations

import numpy as np
import pytest

from vimnp.ops import kernels, reference

EPSILON = 1e-5

with_and_without_bias = pytest.mark.parametrize("biased", [False, True], ids=["rms", "layer"])


def add_norm(residual, hidden, weight, bias, out=None, num_threads=1):
    """The norm; `residual` is updated."""
    out = np.empty_like(residual) if out is None else out
    kernels.fused_add_norm(
        residual, hidden, weight, bias, out, epsilon=EPSILON, num_threads=num_threads
    )
    return out


def exact_norm(x, weight, bias):
    """In float64."""
    bias = None if bias is None else bias.astype(np.float64)
    return reference.norm(x.astype(np.float64), weight.astype(np.float64), bias, EPSILON)
