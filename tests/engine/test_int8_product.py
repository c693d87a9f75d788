"""Products of whole numbers in NumPy: exact sums, and tokens that are zero or not finite."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vimnp.engine.int8_product import EXACT_INPUTS, Int8Matrix, quantise_tokens
from vimnp.weights.encodings import PER_CHANNEL, Encoded, encode

SEEDS = st.integers(0, 2**32 - 1)


def product(matrix: Int8Matrix, x: np.ndarray) -> np.ndarray:
    out = np.empty((len(x), matrix.outputs), np.float32)
    matrix.multiply(x, out)
    return out


def of_largest_codes(outputs: int, inputs: int) -> Encoded:
    return encode(PER_CHANNEL, np.full((outputs, inputs), 0.5, np.float32))


def test_float32_holds_the_sum_of_so_many_products():
    assert EXACT_INPUTS * 127 * 127 <= 1 << 24 < (EXACT_INPUTS + 1) * 127 * 127
    assert EXACT_INPUTS == 1040


@given(SEEDS, st.integers(1, 20), st.integers(1, 40), st.integers(1, 1040), st.booleans())
def test_sums_are_those_of_whole_numbers(
    seed: int, tokens: int, outputs: int, inputs: int, only_largest: bool
) -> None:
    rng = np.random.default_rng(seed)
    matrix = Int8Matrix(encode(PER_CHANNEL, rng.standard_normal((outputs, inputs))))
    x = rng.integers(-127, 128, (tokens, inputs))
    if only_largest:
        matrix.whole[:] = np.where(matrix.whole < 0, -127, 127)
        x = np.where(x < 0, -127, 127)
    expected = x @ matrix.whole.astype(np.int64)
    np.testing.assert_array_equal(matrix.sums(x.astype(np.float32)), expected)


@pytest.mark.parametrize("inputs", [1040, 1041, 2081, 5000])
def test_long_sums_are_rounded_once(inputs: int) -> None:
    matrix = Int8Matrix(of_largest_codes(3, inputs))
    rng = np.random.default_rng(0)
    for x in (np.full((2, inputs), 127), rng.integers(120, 128, (5, inputs))):
        expected = (x @ matrix.whole.astype(np.int64)).astype(np.float32)
        np.testing.assert_array_equal(matrix.sums(x.astype(np.float32)), expected)


@given(SEEDS, st.integers(1, 70), st.sampled_from([-98, -10, 0, 10, 126]))
def test_tokens_are_within_half_a_scale(seed: int, inputs: int, exponent: int) -> None:
    x = np.ldexp(np.random.default_rng(seed).standard_normal((5, inputs)) / 8, exponent)
    x = x.astype(np.float32)
    whole, scales = quantise_tokens(x)
    largest = np.abs(x).max(axis=1)
    counts = largest >= 2.0**-100
    np.testing.assert_array_equal(scales, np.where(counts, largest / np.float32(127), 0))
    np.testing.assert_array_equal(np.abs(whole).max(axis=1), np.where(counts, 127, 0))
    error = np.abs(whole * scales[:, None].astype(np.float64) - x)[counts]
    assert np.all(error <= 0.5 * (1 + 1e-4) * scales[counts, None])


def test_tokens_that_are_almost_zero_are_zero() -> None:
    x = np.array([[0, -0.0], [2.0**-101, -(2.0**-149)], [2.0**-100, 0]], np.float32)
    whole, scales = quantise_tokens(x)
    np.testing.assert_array_equal(whole, [[0, 0], [0, 0], [127, 0]])
    np.testing.assert_array_equal(scales, [0, 0, np.float32(2.0**-100) / np.float32(127)])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_stays_in_its_token(value: float) -> None:
    rng = np.random.default_rng(0)
    matrix = Int8Matrix(encode(PER_CHANNEL, rng.standard_normal((7, 40))))
    x = rng.standard_normal((4, 40)).astype(np.float32)
    expected = product(matrix, x)
    x[2, 13] = value
    found = product(matrix, x)
    assert np.isnan(found[2]).all()
    np.testing.assert_array_equal(np.delete(found, 2, axis=0), np.delete(expected, 2, axis=0))


@given(SEEDS, st.integers(1, 10), st.integers(1, 40), st.integers(1, 100), st.booleans())
def test_the_product_is_the_documented_one(
    seed: int, tokens: int, outputs: int, inputs: int, is_smoothed: bool
) -> None:
    rng = np.random.default_rng(seed)
    smooth = np.exp2(rng.uniform(-4, 4, inputs)).astype(np.float32) if is_smoothed else None
    encoded = encode(PER_CHANNEL, rng.standard_normal((outputs, inputs)), smooth)
    x = rng.standard_normal((tokens, inputs)).astype(np.float32)
    found = product(Int8Matrix(encoded), x)
    if smooth is not None:
        x = x * (np.float32(1) / smooth)
    assert encoded.scales is not None
    codes = (
        encoded.codes.astype(int).transpose(0, 3, 1, 2, 4).reshape(-1, 32 * encoded.codes.shape[1])
    )
    codes = codes[:outputs, :inputs] - 128
    for row, out in zip(x, found, strict=True):
        largest = np.abs(row).max()
        q = np.rint(row * (np.float32(127) / largest)).astype(int)
        sums = (codes @ q).astype(np.float32)
        scales = encoded.scales.reshape(-1)[:outputs]
        np.testing.assert_array_equal(out, sums * scales * (largest / np.float32(127)))


def test_a_token_does_not_depend_on_the_others() -> None:
    rng = np.random.default_rng(0)
    matrix = Int8Matrix(encode(PER_CHANNEL, rng.standard_normal((20, 300))))
    x = rng.standard_normal((9, 300)).astype(np.float32)
    alone = np.concatenate([product(matrix, row[None]) for row in x])
    np.testing.assert_array_equal(product(matrix, x), alone)
    np.testing.assert_array_equal(product(matrix, x[:, ::-1][:, ::-1]), alone)
