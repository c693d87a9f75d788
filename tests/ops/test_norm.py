"""The norm of the residual stream."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.arrays import normal
from tests.support.comparison import examples
from tests.support.norms import EPSILON, add_norm, exact_norm, with_and_without_bias

# Relative to the largest of a token's channels, before the mean is taken away. A sum of 768 float32
# is rounded at every addition, by up to 6e-8 of itself; these roundings mostly cancel. A mistake in
# the arithmetic is larger by orders of magnitude.
TOLERANCE = 2e-6


def assert_norm_is_close(found, x, weight, bias):
    exact = x.astype(np.float64)
    if bias is not None:
        exact -= exact.mean(axis=1, keepdims=True)
    scale = 1 / np.sqrt((exact**2).mean(axis=1) + EPSILON)
    largest = (np.abs(x).max(axis=1) * scale)[:, None] * np.abs(weight)
    largest += 0 if bias is None else np.abs(bias)
    assert (np.abs(found - exact_norm(x, weight, bias)) <= TOLERANCE * largest).all()


@examples
@given(
    tokens=st.integers(0, 70),
    channels=st.integers(1, 50) | st.sampled_from([192, 384, 768]),
    size=st.sampled_from([1e-3, 1, 1e3]),
    added=st.booleans(),
    biased=st.booleans(),
    margin=st.sampled_from([0, 3]),
)
def test_norm_agrees_with_float64(implementation, tokens, channels, size, added, biased, margin):
    """On all columns of an array, or on those in the middle of a wider one."""
    wide = np.float32(size) * normal(3, tokens, channels + 2 * margin, seed=tokens + channels)
    before = wide.copy()
    inner = np.s_[..., margin : margin + channels]
    residual, hidden, out = wide[inner]
    weight, bias = normal(2, channels, seed=channels)
    add_norm(residual, hidden if added else None, weight, bias if biased else None, out)

    expected = before.copy()
    if added:
        np.add(before[0][inner], before[1][inner], out=expected[0][inner])
    expected[2][inner] = out
    np.testing.assert_array_equal(wide, expected)
    assert_norm_is_close(out, residual, weight, bias if biased else None)


def test_a_large_offset_costs_a_layer_norm_no_more_than_the_roundings_of_its_mean(implementation):
    """The difference of mean square and squared mean would be wrong by some 1e-2 here."""
    for channels in (7, 192, 768):
        x = normal(70, channels) + np.float32(100)
        weight, bias = normal(2, channels, seed=1)
        assert_norm_is_close(add_norm(x, None, weight, bias), x, weight, bias)


@with_and_without_bias
def test_the_norm_of_zeros_is_the_bias(implementation, biased):
    x, (weight, bias) = normal(5, 21), normal(2, 21, seed=1)
    x[3] = 0
    out = add_norm(x, None, weight, bias if biased else None)
    np.testing.assert_array_equal(out[3], bias if biased else 0)
    assert out[[0, 1, 2, 4]].all()


@with_and_without_bias
def test_a_token_is_normalised_the_same_alone_and_among_others(implementation, biased):
    x, hidden = normal(2, 70, 50)
    weight, bias = normal(2, 50, seed=1)
    bias = bias if biased else None
    together = add_norm(x.copy(), hidden, weight, bias)
    for t in range(len(x)):
        alone = add_norm(x[t : t + 1].copy(), hidden[t : t + 1], weight, bias)
        np.testing.assert_array_equal(alone[0], together[t])


@pytest.mark.usefixtures("small_work_is_split")
@with_and_without_bias
def test_every_number_of_threads_gives_the_same_norm(implementation, biased):
    x, hidden = normal(2, 300, 50)
    weight, bias = normal(2, 50, seed=1)

    def run(num_threads):
        residual = x.copy()
        out = add_norm(residual, hidden, weight, bias if biased else None, num_threads=num_threads)
        return residual.tobytes(), out.tobytes()

    alone = run(1)
    for num_threads in (2, 3, 8):
        assert run(num_threads) == alone
