"""Matrices stored small: what is lost, what is not, and arrays that are refused."""

from __future__ import annotations

import dataclasses
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vimnp.errors import WeightsError
from vimnp.weights.encodings import ENCODINGS, Encoded, decode, encode, layout, widen

SIZES = st.integers(1, 70)
SEEDS = st.integers(0, 2**32 - 1)
EXPONENTS = st.sampled_from([-149, -130, -120, -10, 0, 10, 120])


def random_matrix(seed: int, outputs: int, inputs: int, exponent: int = 0) -> np.ndarray:
    """Normal numbers of very different blocks, some of them zeros."""
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal((outputs, inputs)) * 2.0 ** rng.integers(-5, 5, (outputs, 1))
    matrix *= rng.random((outputs, inputs)) < rng.random((outputs, 1))
    return np.ldexp(matrix, exponent).astype(np.float32)


def scales_of_weights(encoded: Encoded) -> np.ndarray:
    """The size of each weight's scale, shape (outputs, inputs)."""
    assert encoded.scales is not None
    rows = np.abs(widen(encoded.scales)).transpose(0, 2, 1).reshape(-1, encoded.scales.shape[1])
    return rows.repeat(32, axis=1)[: encoded.outputs, : encoded.inputs]


@given(SEEDS, SIZES, SIZES, EXPONENTS)
def test_int8_is_within_half_a_scale(seed: int, outputs: int, inputs: int, exponent: int) -> None:
    matrix = random_matrix(seed, outputs, inputs, exponent).astype(np.float64)
    encoded = encode("int8", matrix)
    encoded.check()
    error = np.abs(decode(encoded) - matrix)
    assert np.all(error <= 0.5 * (1 + 1e-6) * scales_of_weights(encoded) + 2.0**-149)


@given(SEEDS, SIZES, SIZES)
def test_int8_uses_its_whole_range(seed: int, outputs: int, inputs: int) -> None:
    encoded = encode("int8", random_matrix(seed, outputs, inputs))
    codes = encoded.codes.astype(int) - 128
    largest = np.abs(codes).max(axis=(2, 4))
    np.testing.assert_array_equal(largest, np.where(encoded.scales == 0, 0, 127))


@given(SEEDS, SIZES, SIZES, EXPONENTS)
def test_int4_is_off_by_a_few_scales_at_most(
    seed: int, outputs: int, inputs: int, exponent: int
) -> None:
    matrix = random_matrix(seed, outputs, inputs, exponent).astype(np.float64)
    encoded = encode("int4", matrix)
    encoded.check()
    error = np.abs(decode(encoded) - matrix)
    assert np.all(error <= 2.6 * scales_of_weights(encoded) + 2.0**-149)


def test_int4_loses_less_than_the_simplest_scale() -> None:
    matrix = np.random.default_rng(0).standard_normal((256, 256))
    blocks = matrix.reshape(256, 8, 32)
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=-1)[..., None], axis=-1)
    simplest = np.clip(np.rint(blocks / (largest / -8)), -8, 7) * (largest / -8)
    error = np.square(decode(encode("int4", matrix)) - matrix).sum()
    assert error < 0.95 * np.square(simplest - blocks).sum()


@given(SEEDS, SIZES, SIZES, st.sampled_from([-100, -10, 0, 120]))
def test_bfloat16_is_the_nearest(seed: int, outputs: int, inputs: int, exponent: int) -> None:
    matrix = random_matrix(seed, outputs, inputs, exponent)
    decoded = decode(encode("bfloat16", matrix))
    assert np.all(np.abs(decoded - matrix) <= np.abs(matrix) * np.float32(2.0**-8 / (1 + 2.0**-8)))
    np.testing.assert_array_equal(decoded.view(np.uint32) & 0xFFFF, 0)


def test_bfloat16_rounds_a_tie_to_even() -> None:
    bits = np.array([[0x3F808000, 0x3F818000, 0xBF808001]], np.uint32)
    decoded = decode(encode("bfloat16", bits.view(np.float32)))
    assert [*map(hex, decoded.view(np.uint32)[0])] == ["0x3f800000", "0x3f820000", "0xbf810000"]


@pytest.mark.parametrize("dtype", ENCODINGS)
@given(SEEDS, SIZES, SIZES, EXPONENTS)
def test_what_was_decoded_is_kept_exactly(
    dtype: str, seed: int, outputs: int, inputs: int, exponent: int
) -> None:
    once = decode(encode(dtype, random_matrix(seed, outputs, inputs, exponent)))
    np.testing.assert_array_equal(decode(encode(dtype, once)), once)


@pytest.mark.parametrize("dtype", ENCODINGS)
def test_the_layout_is_the_documented_one(dtype: str) -> None:
    outputs, inputs = 37, 75
    encoded = encode(dtype, random_matrix(3, outputs, inputs))
    decoded = decode(encoded)
    for o in range(outputs):
        for k in range(inputs):
            panel, lane, block, i = o // 16, o % 16, k // 32, k % 32
            if encoded.scales is None:
                bits = int(encoded.codes[panel, k // 2, lane, k % 2]) << 16
                weight = np.array(bits, np.uint32).view(np.float32)[()]
            else:
                scale = widen(encoded.scales)[panel, block, lane]
                if dtype == "int8":
                    code = int(encoded.codes[panel, block, i // 4, lane, i % 4]) - 128
                else:
                    pair = int(encoded.codes[panel, block, i // 8, lane, i % 4])
                    code = (pair >> 4 if i % 8 >= 4 else pair & 15) - 8
                weight = code * scale
            assert weight == decoded[o, k]


@pytest.mark.parametrize("dtype", ENCODINGS)
def test_what_fills_a_panel_and_a_block_is_zero(dtype: str) -> None:
    few = encode(dtype, random_matrix(0, 1, 1))
    whole = np.zeros((16, 2 if few.scales is None else 32), np.float32)
    whole[:1, :1] = decode(few)
    np.testing.assert_array_equal(encode(dtype, whole).codes, few.codes)


@pytest.mark.parametrize("dtype", ENCODINGS)
def test_panels_are_encoded_alone(dtype: str) -> None:
    matrix = random_matrix(1, 100, 50)
    whole = encode(dtype, matrix)
    parts = [encode(dtype, matrix[i : i + 32]) for i in range(0, 100, 32)]
    np.testing.assert_array_equal(np.concatenate([part.codes for part in parts]), whole.codes)
    if whole.scales is not None:
        scales = [part.scales for part in parts if part.scales is not None]
        np.testing.assert_array_equal(np.concatenate(scales), whole.scales)


@pytest.mark.parametrize("dtype", ENCODINGS)
def test_encoding_takes_little_memory_beside_the_result(dtype: str) -> None:
    matrix = random_matrix(1, 4096, 1000)
    tracemalloc.start()
    try:
        encoded = encode(dtype, matrix)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - encoded.nbytes < 12e6 < matrix.nbytes


@pytest.mark.parametrize("dtype", ENCODINGS)
@pytest.mark.parametrize("weight", [np.nan, np.inf, -np.inf, 3.4e38])
def test_weights_that_cannot_be_stored_are_refused(dtype: str, weight: float) -> None:
    matrix = random_matrix(2, 20, 40)
    matrix[17, 33] = weight
    with pytest.raises(WeightsError, match="not finite, or beyond 3e"):
        encode(dtype, matrix)


@pytest.mark.parametrize("dtype", ENCODINGS)
@pytest.mark.parametrize("largest", [3e38, -3e38])
def test_the_largest_weights_stay_finite(dtype: str, largest: float) -> None:
    decoded = decode(encode(dtype, np.full((3, 40), largest, np.float32)))
    np.testing.assert_allclose(decoded, largest, rtol=0.01)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (3,), (1, 2, 3)])
def test_what_is_no_matrix_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(WeightsError, match="expected a matrix"):
        encode("int8", np.zeros(shape, np.float32))


def test_another_dtype_is_refused() -> None:
    with pytest.raises(WeightsError, match="'int2'; expected one of"):
        encode("int2", np.zeros((1, 1), np.float32))


@pytest.mark.parametrize("dtype", ENCODINGS)
def test_arrays_of_another_size_are_refused(dtype: str) -> None:
    encoded = encode(dtype, random_matrix(2, 20, 40))
    for changes in (
        {"outputs": 33},
        {"outputs": 16},
        {"inputs": 80},
        {"inputs": 0},
        {"outputs": -1},
        {"codes": encoded.codes.astype(np.int8)},
        {"codes": encoded.codes[:, :, :, ::-1]},
        {"scales": np.zeros(3, np.uint16)},
        {"dtype": "float32"},
    ):
        with pytest.raises(WeightsError, match="expected"):
            dataclasses.replace(encoded, **changes)  # type: ignore[arg-type]


def test_scales_must_be_there_where_they_belong() -> None:
    codes = np.full(layout("int8", 1, 1).codes, 128, np.uint8)
    with pytest.raises(WeightsError, match="scales of an encoded matrix are none; expected uint16"):
        Encoded("int8", 1, 1, codes, None)


@pytest.mark.parametrize("dtype", ["int8", "int4"])
def test_scales_that_are_not_finite_are_found(dtype: str) -> None:
    encoded = encode(dtype, random_matrix(2, 20, 40))
    assert encoded.scales is not None
    encoded.scales[1, 1, 3] = 0xFF80
    with pytest.raises(WeightsError, match="scales stored as bfloat16 are not finite"):
        encoded.check()


def test_weights_that_are_not_finite_are_found() -> None:
    encoded = encode("bfloat16", random_matrix(2, 20, 40))
    encoded.codes[1, 1, 3] = 0x7FC0
    with pytest.raises(WeightsError, match="weights stored as bfloat16 are not finite"):
        encoded.check()


def test_the_code_that_int8_leaves_out_is_found() -> None:
    encoded = encode("int8", random_matrix(2, 20, 40))
    encoded.codes[1, 1, 3, 4, 0] = 0
    with pytest.raises(WeightsError, match="int8 codes hold 0; expected 1 to 255"):
        encoded.check()
