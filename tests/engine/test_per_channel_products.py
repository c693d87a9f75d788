"""Products with matrices of int8_per_channel, on every instruction set.

Seams are blocks of 32 inputs, panels of 16 outputs, tiles of up to 6 rows and 64 outputs, and
blocks of 120 rows. Without an addend every step is rounded once, so that bits are compared.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.arrays import normal
from tests.support.comparison import examples
from tests.support.per_channel_product import product, quantise_rows, sums_of, weights_of
from tests.support.programs import reading_tokens, run
from vimnp.engine.builder import Builder
from vimnp.engine.packing import PackedMatrix, Packing
from vimnp.engine.program import Array, ProgramError
from vimnp.runtime import extension
from vimnp.weights.encodings import PER_CHANNEL, Encoded, encode


@pytest.fixture(params=extension.usable_instruction_sets())
def width(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Floats in a vector of every compiled instruction set, in turn, which is then in use."""
    monkeypatch.setenv("VIMNP_ISA", request.param)
    kernels = extension.kernels()
    assert kernels is not None
    assert kernels.name == request.param
    return kernels.width


def matrix_of(outputs: int, inputs: int, *, smooth: bool = False, seed: int = 1) -> Encoded:
    factors = np.exp2(normal(inputs, seed=seed + 1)) if smooth else None
    return encode(PER_CHANNEL, normal(outputs, inputs, seed=seed), factors)


def multiply(
    x: np.ndarray,
    matrix: Encoded,
    addend: np.ndarray | None = None,
    out: np.ndarray | None = None,
    rows: tuple[int, int] | None = None,
    columns: tuple[int, int] | None = None,
) -> np.ndarray:
    """addend + x @ matrix.T: all of it, or these rows and columns, into `out` if it is given."""
    if out is None:
        out = np.full((len(x), matrix.outputs), np.nan, np.float32)
    rows, columns = rows or (0, len(x)), columns or (0, matrix.outputs)
    kernels = extension.kernels()
    assert kernels is not None
    kernels.product(x, matrix, addend, out, rows=rows, columns=columns)
    return out


def packed(matrix: Encoded) -> PackedMatrix:
    kernels = extension.kernels()
    assert kernels is not None
    return Packing(kernels.width, kernels.panel).pack(matrix)


# ---- The arithmetic ------------------------------------------------------------------------------


@examples
@given(
    rows=st.integers(1, 20),
    inputs=st.integers(1, 1040),
    outputs=st.integers(1, 150),
    smooth=st.booleans(),
    margin=st.sampled_from([0, 3]),
)
def test_products_have_the_bits_of_numpy(
    width: int, rows: int, inputs: int, outputs: int, smooth: bool, margin: int
) -> None:
    """On all columns of the arrays, or on those in the middle of wider ones."""
    inner = np.s_[:, margin : -margin or None]
    x = normal(rows, inputs + 2 * margin)[inner]
    matrix = matrix_of(outputs, inputs, smooth=smooth)
    wide = normal(rows, outputs + 2 * margin, seed=2)
    expected = wide.copy()
    multiply(x, matrix, out=wide[inner])
    expected[inner] = product(x, matrix)
    np.testing.assert_array_equal(wide, expected)


@examples
@given(
    rows=st.integers(1, 14),
    inputs=st.integers(1, 1040),
    outputs=st.integers(1, 80),
    largest=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_sums_are_exact(
    width: int, rows: int, inputs: int, outputs: int, largest: bool, seed: int
) -> None:
    """Whole numbers of any size, or of the largest alone, where all scales are 1."""
    generator = np.random.default_rng(seed)
    numbers = [-127, 127] if largest else np.arange(-127, 128)
    weights, x = (
        generator.choice(numbers, (outputs, inputs)),
        generator.choice(numbers, (rows, inputs)),
    )
    weights[:, 0] = x[:, -1] = 127  # so that the scales are 1
    matrix = encode(PER_CHANNEL, weights)
    np.testing.assert_array_equal(weights_of(matrix)[0], weights)
    x = x.astype(np.float32)
    np.testing.assert_array_equal(multiply(x, matrix), sums_of(x, matrix))
    np.testing.assert_array_equal(multiply(x, matrix), x.astype(np.int64) @ weights.T)


@pytest.mark.parametrize("rows", [1, 2, 5, 6, 7, 130])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_numbers_do_not_overflow(width: int, rows: int, sign: int) -> None:
    """Every sum in between is as large as it can be: 3,072 inputs, as in a large network."""
    inputs = 3072
    x = np.full((rows, inputs), 127, np.float32)
    weights = np.full((35, inputs), 127 * sign)
    weights[1::2, ::2] *= -1
    matrix = encode(PER_CHANNEL, weights)
    expected = (x.astype(np.int64) @ weights.T).astype(np.float32)
    np.testing.assert_array_equal(multiply(x, matrix), expected)


# in_proj, x_proj, out_proj and the patches of Vim-tiny; a convolution of VMamba
SHAPES = [(197, 192, 768), (197, 384, 44), (197, 384, 192), (196, 768, 192), (49, 864, 192)]


@pytest.mark.parametrize(("rows", "inputs", "outputs"), SHAPES)
def test_products_of_the_networks_own_sizes(
    width: int, rows: int, inputs: int, outputs: int
) -> None:
    x, matrix = normal(rows, inputs), matrix_of(outputs, inputs)
    np.testing.assert_array_equal(multiply(x, matrix), product(x, matrix))


@examples
@given(rows=st.integers(1, 14), inputs=st.integers(1, 100), outputs=st.integers(1, 80))
def test_an_addend_is_added_once_the_product_is_scaled(
    width: int, rows: int, inputs: int, outputs: int
) -> None:
    x, matrix = normal(rows, inputs), matrix_of(outputs, inputs)
    addend = normal(rows, outputs, seed=3)
    of_outputs = sums_of(x, matrix).astype(np.float32) * weights_of(matrix)[1]
    scaled = of_outputs.astype(np.float64) * quantise_rows(x).scales[:, None]
    found = multiply(x, matrix, addend)
    limit = np.spacing((np.abs(scaled) + np.abs(addend)).astype(np.float32))
    assert np.all(np.abs(found - (addend + scaled)) <= limit)


@pytest.mark.parametrize("rows", [1, 5, 12, 97])
def test_a_product_may_be_added_to_its_output(width: int, rows: int) -> None:
    x, out, matrix = normal(rows, 40), normal(rows, 50, seed=2), matrix_of(50, 40)
    expected = multiply(x, matrix, out.copy())
    np.testing.assert_array_equal(multiply(x, matrix, out, out), expected)


# ---- Rows of every kind --------------------------------------------------------------------------


@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize("value", [0.0, 1e-40, -1e-35, 7.8e-31, 8e-31, 1e-29, 3e38])
def test_rows_of_the_smallest_and_largest_numbers(width: int, value: float, smooth: bool) -> None:
    x = np.full((3, 40), value, np.float32)
    x[1, 3:] = 0
    matrix = matrix_of(20, 40, smooth=smooth)
    found, expected = multiply(x, matrix), product(x, matrix)
    np.testing.assert_array_equal(found, expected)
    if abs(value) < 2**-103:  # smoothing makes some larger
        assert not found.any()


@pytest.mark.parametrize("value", [np.nan, -np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("rows", [1, 4, 13])
@pytest.mark.parametrize("column", [0, 33, 49])
def test_what_is_not_finite_spoils_its_row_and_no_other(
    width: int, rows: int, value: float, column: int
) -> None:
    clean, matrix = normal(rows, 50), matrix_of(75, 50)
    expected = multiply(clean, matrix)
    for t in range(rows):
        x = clean.copy()
        x[t, column] = value
        found = multiply(x, matrix)
        assert np.isnan(found[t]).all()
        np.testing.assert_array_equal(np.delete(found, t, 0), np.delete(expected, t, 0))


# ---- Parts of a product --------------------------------------------------------------------------


@examples
@given(
    rows=st.integers(1, 20) | st.sampled_from([120, 121, 197]),
    inputs=st.sampled_from([13, 64, 65]),
    outputs=st.integers(1, 150),
    added=st.booleans(),
    data=st.data(),
)
def test_a_part_is_that_of_the_whole_and_leaves_the_rest_alone(
    width: int, rows: int, inputs: int, outputs: int, added: bool, data: st.DataObject
) -> None:
    x, matrix = normal(rows, inputs), matrix_of(outputs, inputs)
    addend = normal(rows, outputs, seed=2) if added else None
    whole = multiply(x, matrix, addend)
    some_rows, some_columns = data.draw(parts(rows)), data.draw(parts(outputs, width))
    expected = normal(rows, outputs, seed=3)
    out = expected.copy()
    multiply(x, matrix, addend, out, some_rows, some_columns)
    part = slice(*some_rows), slice(*some_columns)
    expected[part] = whole[part]
    np.testing.assert_array_equal(out, expected)


def parts(length: int, step: int = 1) -> st.SearchStrategy[tuple[int, int]]:
    """Where a part of whole steps begins and ends, or ends with the whole; it may be empty."""
    cuts = st.sampled_from([*range(0, length, step), length])
    pairs = st.tuples(cuts, cuts).map(lambda pair: (min(pair), max(pair)))
    return pairs.filter(lambda part: part[0] % step == 0)


def test_a_part_that_ends_within_a_vector_ends_with_the_vector(width: int) -> None:
    x, matrix = normal(7, 13), matrix_of(150, 13)
    out = np.zeros((7, 150), np.float32)
    multiply(x, matrix, out=out, columns=(16, 17))
    expected = np.zeros_like(out)
    written = np.s_[:, 16 : 16 + width]
    expected[written] = multiply(x, matrix)[written]
    np.testing.assert_array_equal(out, expected)


# ---- In a program --------------------------------------------------------------------------------


@examples
@given(
    tokens=st.sampled_from([1, 4, 60, 150]),
    outputs=st.sampled_from([37, 80, 200]),
    smooth=st.booleans(),
    backward=st.booleans(),
    quantised=st.booleans(),
)
def test_a_programs_products_are_those_of_the_kernel(
    width: int, tokens: int, outputs: int, smooth: bool, backward: bool, quantised: bool
) -> None:
    """Rows are split, columns are split, and columns from some column on; with rows that are
    quantised by the product, or before it."""
    matrix = matrix_of(outputs, 70, smooth=smooth)
    weights, half = packed(matrix), 24
    b, x = reading_tokens(tokens, 70, (2 * tokens, outputs))
    whole, split = b.out.first(tokens), b.out.part(tokens, tokens)

    def in_time(array: Array) -> Array:
        return array.backward() if backward else array

    with b.rows(tokens):
        b.product("rows", x, weights, whole)
        if quantised:
            numbers = b.quantised(tokens, weights)
            b.quantise(x, weights, numbers)
    read = numbers if quantised else x
    with b.columns(half, tokens):
        b.product("left", in_time(read), weights, in_time(split))
    with b.columns(outputs - half, tokens, block=60):
        b.product("right", in_time(read), weights, in_time(split), column=half)
    tokens_of = normal(tokens, 70)[None]
    expected = np.tile(product(tokens_of[0], matrix), (2, 1))
    for num_threads in (1, 2, 5):
        np.testing.assert_array_equal(run(b.program(), tokens_of, num_threads), expected)


@pytest.mark.parametrize("rows", [1, 130])
def test_bias_and_gelu_follow_the_product(width: int, rows: int) -> None:
    matrix, bias = matrix_of(75, 50), normal(75, seed=5)
    b, x = reading_tokens(rows, 50, (3 * rows, 75))
    plain, biased, both = (b.out.part(i * rows, rows) for i in range(3))
    with b.rows(rows):
        b.product("p", x, packed(matrix), plain)
        b.product("p", x, packed(matrix), biased, bias=bias)
        b.product("p", x, packed(matrix), both, bias=bias, activation="gelu")
    found = run(b.program(), normal(rows, 50)[None], 2).reshape(3, rows, 75)
    np.testing.assert_array_equal(found[0], product(normal(rows, 50), matrix))
    np.testing.assert_array_equal(found[1], found[0] + bias)
    kernels = extension.kernels()
    assert kernels is not None
    gelu = np.empty_like(found[1])
    kernels.apply("gelu", found[1].reshape(-1), gelu.reshape(-1))
    np.testing.assert_array_equal(found[2], gelu)


def test_a_matrix_costs_the_bytes_that_it_has(width: int) -> None:
    matrix = matrix_of(64, 64)
    b = Builder((1, 1, 1), (1, 64))
    x = b.array(1, 64)
    with b.rows(1):
        b.product("p", x, packed(matrix), b.out)
    assert b.program().costs["p"].bytes == matrix.nbytes + 2 * 64 * 4


def test_rows_are_quantised_for_their_own_matrix_alone(width: int) -> None:
    weights, smoothed = packed(matrix_of(48, 70)), packed(matrix_of(48, 70, smooth=True))
    b = Builder((1, 1, 1), (5, 48))
    x, numbers = b.array(5, 70), b.quantised(5, weights)
    with b.rows(5):
        for other in (smoothed, packed(matrix_of(48, 69)), packed(encode("int8", normal(48, 70)))):
            with pytest.raises(ProgramError):
                b.product("p", numbers, other, b.out)
        for wrong in (x, numbers.columns(0, 35)):
            with pytest.raises(ProgramError):
                b.quantise(x, weights, wrong)
        with pytest.raises(ProgramError):
            b.product("p", numbers.columns(0, 35), weights, b.out)
        with pytest.raises(ProgramError):
            b.norm(numbers, x, np.ones(70, np.float32), None, 1e-5)
        b.quantise(x, weights, numbers)
        b.product("p", numbers, weights, b.out)
    with pytest.raises(ProgramError, match="float32"):
        b.quantised(5, Packing(1, 1).pack(normal(48, 70)))


def test_another_shape_is_refused(width: int) -> None:
    matrix = matrix_of(50, 70)
    for x, out in (((3, 71), (3, 50)), ((3, 70), (3, 49)), ((3, 70), (2, 50))):
        with pytest.raises(ValueError, match="does not fit"):
            multiply(normal(*x), matrix, out=normal(*out))
