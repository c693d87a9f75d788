"""Matrices in whole numbers with a scale for each output: what is lost, and what is refused."""

from __future__ import annotations

import dataclasses
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vimnp.errors import WeightsError
from vimnp.weights.encodings import PER_CHANNEL, Encoded, decode, encode, layout, whole_numbers

SIZES = st.integers(1, 70)
SEEDS = st.integers(0, 2**32 - 1)
EXPONENTS = st.sampled_from([-149, -130, -120, -10, 0, 10, 120])


def random_matrix(seed: int, outputs: int, inputs: int, exponent: int = 0) -> np.ndarray:
    """Normal numbers of very different rows, some of them zeros."""
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal((outputs, inputs)) * 2.0 ** rng.integers(-5, 5, (outputs, 1))
    matrix *= rng.random((outputs, inputs)) < rng.random((outputs, 1))
    return np.ldexp(matrix, exponent).astype(np.float32)


def random_smoothing(seed: int, inputs: int) -> np.ndarray:
    return np.exp2(np.random.default_rng(seed).uniform(-8, 8, inputs)).astype(np.float32)


def numbers(encoded: Encoded) -> np.ndarray:
    """The whole numbers, shape (outputs, inputs)."""
    whole = whole_numbers(encoded.dtype, encoded.codes)
    rows = whole.reshape(len(whole) * 16, -1)
    assert not np.any(rows[encoded.outputs :])
    assert not np.any(rows[:, encoded.inputs :])
    return rows[: encoded.outputs, : encoded.inputs].astype(int)


def scales(encoded: Encoded) -> np.ndarray:
    """A scale for each output."""
    assert encoded.scales is not None
    flat = encoded.scales.reshape(-1)
    assert not np.any(flat[encoded.outputs :])
    return flat[: encoded.outputs]


@given(SEEDS, SIZES, SIZES, EXPONENTS)
def test_numbers_and_scales_are_the_documented_ones(
    seed: int, outputs: int, inputs: int, exponent: int
) -> None:
    matrix = random_matrix(seed, outputs, inputs, exponent)
    encoded = encode(PER_CHANNEL, matrix)
    encoded.check()
    for row, found, scale in zip(matrix, numbers(encoded), scales(encoded), strict=True):
        largest = np.abs(row).max()
        if largest == 0:
            assert scale == 0
            assert not np.any(found)
            continue
        assert scale == max(largest / np.float32(127), np.float32(2.0**-126))
        np.testing.assert_array_equal(found, np.rint(row / scale))
        assert np.abs(found).max() == 127 or scale == np.float32(2.0**-126)


@given(SEEDS, SIZES, SIZES)
def test_a_weight_is_within_half_a_scale(seed: int, outputs: int, inputs: int) -> None:
    matrix = random_matrix(seed, outputs, inputs).astype(np.float64)
    encoded = encode(PER_CHANNEL, matrix)
    error = np.abs(decode(encoded) - matrix)
    assert np.all(error <= 0.5 * (1 + 1e-5) * scales(encoded)[:, None])


@given(SEEDS, SIZES, SIZES)
def test_smoothing_is_in_the_codes_and_out_of_the_weights(
    seed: int, outputs: int, inputs: int
) -> None:
    matrix, smooth = random_matrix(seed, outputs, inputs), random_smoothing(seed, inputs)
    encoded, scaled = encode(PER_CHANNEL, matrix, smooth), encode(PER_CHANNEL, matrix * smooth)
    encoded.check()
    np.testing.assert_array_equal(encoded.codes, scaled.codes)
    np.testing.assert_array_equal(encoded.scales, scaled.scales)
    np.testing.assert_allclose(decode(encoded), decode(scaled) / smooth, rtol=1e-6)


def test_the_layout_is_the_documented_one() -> None:
    outputs, inputs = 37, 75
    encoded = encode(PER_CHANNEL, random_matrix(3, outputs, inputs))
    decoded = decode(encoded)
    assert encoded.scales is not None
    for o in range(outputs):
        for k in range(inputs):
            panel, lane, block, i = o // 16, o % 16, k // 32, k % 32
            code = int(encoded.codes[panel, block, i // 4, lane, i % 4]) - 128
            assert code * encoded.scales[panel, lane] == decoded[o, k]


def test_panels_are_encoded_alone() -> None:
    matrix = random_matrix(1, 100, 50)
    whole = encode(PER_CHANNEL, matrix)
    parts = [encode(PER_CHANNEL, matrix[i : i + 32]) for i in range(0, 100, 32)]
    np.testing.assert_array_equal(np.concatenate([part.codes for part in parts]), whole.codes)
    all_scales = [part.scales for part in parts if part.scales is not None]
    np.testing.assert_array_equal(np.concatenate(all_scales), whole.scales)


def test_encoding_takes_little_memory_beside_the_result() -> None:
    matrix = random_matrix(1, 4096, 1000)
    tracemalloc.start()
    try:
        encoded = encode(PER_CHANNEL, matrix, random_smoothing(1, 1000))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - encoded.nbytes < 12e6 < matrix.nbytes


def test_rows_can_be_scaled_without_a_loss() -> None:
    matrix = random_matrix(1, 20, 50)
    factors = np.random.default_rng(1).standard_normal(20).astype(np.float32)
    encoded = encode(PER_CHANNEL, matrix)
    scaled = encoded.scaled(factors)
    np.testing.assert_array_equal(scaled.codes, encoded.codes)
    np.testing.assert_array_equal(scales(scaled), scales(encoded) * factors)
    np.testing.assert_allclose(decode(scaled), decode(encoded) * factors[:, None], rtol=1e-6)


@pytest.mark.parametrize("weight", [np.nan, np.inf, -np.inf, 3.4e38])
def test_weights_that_cannot_be_stored_are_refused(weight: float) -> None:
    matrix = random_matrix(2, 20, 40)
    matrix[17, 33] = weight
    with pytest.raises(WeightsError, match="not finite, or beyond 3e"):
        encode(PER_CHANNEL, matrix)


def test_the_largest_weights_stay_finite() -> None:
    decoded = decode(encode(PER_CHANNEL, np.full((3, 40), -3e38, np.float32)))
    np.testing.assert_allclose(decoded, -3e38, rtol=1e-6)


def test_arrays_of_another_size_are_refused() -> None:
    encoded = encode(PER_CHANNEL, random_matrix(2, 20, 40), random_smoothing(2, 40))
    assert encoded.smooth is not None
    for changes in (
        {"outputs": 33},
        {"outputs": 16},
        {"inputs": 80},
        {"inputs": 39},  # as many codes, and another smoothing
        {"scales": np.zeros((2, 16), np.uint16)},
        {"scales": None},
        {"smooth": encoded.smooth[:39]},
        {"smooth": encoded.smooth.astype(np.float64)},
        {"dtype": "int8"},
    ):
        with pytest.raises(WeightsError, match="expected"):
            dataclasses.replace(encoded, **changes)  # type: ignore[arg-type]


def test_other_dtypes_have_no_smoothing() -> None:
    codes = np.full(layout("bfloat16", 1, 2).codes, 0, np.uint16)
    with pytest.raises(WeightsError, match="the smoothing of an encoded matrix"):
        Encoded("bfloat16", 2, 1, codes, None, np.ones(2, np.float32))


def test_the_code_that_int8_leaves_out_is_found() -> None:
    encoded = encode(PER_CHANNEL, random_matrix(2, 20, 40))
    encoded.codes[1, 1, 3, 4, 0] = 0
    with pytest.raises(WeightsError, match="int8 codes hold 0; expected 1 to 255"):
        encoded.check()


@pytest.mark.parametrize("scale", [np.nan, np.inf, -1.0])
def test_a_wrong_scale_is_found(scale: float) -> None:
    encoded = encode(PER_CHANNEL, random_matrix(2, 20, 40))
    assert encoded.scales is not None
    encoded.scales[1, 3] = scale
    with pytest.raises(WeightsError, match="a scale of int8 is negative, not finite"):
        encoded.check()


@pytest.mark.parametrize("factor", [np.nan, np.inf, 0.0, -1.0, 1e-20, 1e20])
def test_a_wrong_smoothing_is_found(factor: float) -> None:
    encoded = encode(PER_CHANNEL, random_matrix(2, 20, 40), random_smoothing(2, 40))
    assert encoded.smooth is not None
    encoded.smooth[7] = factor
    with pytest.raises(WeightsError, match="a number of the smoothing is none from"):
        encoded.check()
