"""Products with matrices that are stored small, on every instruction set.

Seams are blocks of 32 inputs, panels of 16 outputs, tiles of up to 8 rows and blocks of 120 rows.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.arrays import normal
from tests.support.block_product import block_matrix, quantise
from tests.support.comparison import assert_close, examples
from vimnp.engine.builder import Builder
from vimnp.engine.packing import Packing
from vimnp.engine.program import Program
from vimnp.runtime import extension
from vimnp.weights.encodings import (
    ENCODINGS,
    Encoded,
    decode,
    encode,
    whole_numbers,
)

every_dtype = pytest.mark.parametrize("dtype", ENCODINGS)
of_whole_numbers = pytest.mark.parametrize("dtype", ["int8", "int4"])


@pytest.fixture(params=extension.usable_instruction_sets())
def width(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Floats in a vector of every compiled instruction set, in turn, which is then in use."""
    monkeypatch.setenv("VIMNP_ISA", request.param)
    kernels = extension.kernels()
    assert kernels is not None
    assert kernels.name == request.param
    return kernels.width


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


def seen(x: np.ndarray, matrix: Encoded) -> tuple[np.ndarray, np.ndarray]:
    """What a product makes of both sides, in float64: (rows, inputs) and (outputs, inputs)."""
    weights = decode(matrix).astype(np.float64)
    if matrix.dtype == "bfloat16":
        return x.astype(np.float64), weights
    whole, scales = quantise(x)
    rounded = whole.astype(np.float64) * scales[..., None]
    return rounded.reshape(len(x), -1)[:, : matrix.inputs], weights


def assert_product_is_close(
    found: np.ndarray, x: np.ndarray, matrix: Encoded, addend: np.ndarray | None = None
) -> None:
    x, weights = seen(x, matrix)
    added = np.zeros(1) if addend is None else addend.astype(np.float64)
    terms = np.abs(added) + np.abs(x) @ np.abs(weights.T)
    assert_close(found, added + x @ weights.T, terms)


# ---- Numbers of a row ----------------------------------------------------------------------------


@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(1, 100), st.integers(-80, 80))
def test_numbers_are_within_half_a_scale(seed: int, rows: int, inputs: int, exponent: int) -> None:
    x = np.ldexp(normal(rows, inputs, seed=seed), exponent)
    whole, scales = quantise(x)
    assert np.abs(whole).max() <= 127
    found = (whole.astype(np.float64) * scales[..., None]).reshape(rows, -1)
    error = np.abs(found[:, :inputs] - x)
    assert np.all(error <= 0.5001 * scales.repeat(32, axis=1)[:, :inputs])
    assert not found[:, inputs:].any()


@pytest.mark.parametrize("value", [0.0, 1e-40, -1e-35])
def test_next_to_nothing_counts_as_zero(value: float) -> None:
    whole, scales = quantise(np.full((2, 40), value, np.float32))
    assert not whole.any()
    assert not scales.any()


@of_whole_numbers
@pytest.mark.parametrize("value", [0.0, 1e-40, -1e-35, 1e-29, 3e38])
def test_kernels_and_numpy_agree_on_the_smallest_and_largest_numbers(
    width: int, dtype: str, value: float
) -> None:
    x = np.full((2, 40), value, np.float32)
    matrix = encode(dtype, normal(5, 40) / 64)
    expected = np.empty((2, 5), np.float32)
    block_matrix(matrix).multiply(x, expected)
    np.testing.assert_allclose(multiply(x, matrix), expected, rtol=1e-5)


# ---- The arithmetic ------------------------------------------------------------------------------


@every_dtype
@examples
@given(
    rows=st.integers(1, 20),
    inputs=st.integers(1, 140),
    outputs=st.integers(1, 100),
    added=st.booleans(),
    margin=st.sampled_from([0, 3]),
)
def test_products_agree_with_float64(
    width: int, dtype: str, rows: int, inputs: int, outputs: int, added: bool, margin: int
) -> None:
    """On all columns of the arrays, or on those in the middle of wider ones."""
    inner = np.s_[:, margin : -margin or None]
    x = normal(rows, inputs + 2 * margin)[inner]
    matrix = encode(dtype, normal(outputs, inputs, seed=1))
    sums, wide = normal(2, rows, outputs + 2 * margin, seed=2)
    addend = sums[inner] if added else None
    expected = wide.copy()
    multiply(x, matrix, addend, out=wide[inner])
    assert_product_is_close(wide[inner], x, matrix, addend)
    expected[inner] = wide[inner]
    np.testing.assert_array_equal(wide, expected)


# in_proj, x_proj and out_proj of mamba-130m, its head in part; and a picture's in_proj.
SHAPES = [(1, 768, 3072), (3, 1536, 80), (130, 1536, 768), (2, 768, 1000), (197, 192, 768)]


@every_dtype
@pytest.mark.parametrize(("rows", "inputs", "outputs"), SHAPES)
def test_products_of_the_networks_own_sizes_agree_with_float64(
    width: int, dtype: str, rows: int, inputs: int, outputs: int
) -> None:
    x, matrix = normal(rows, inputs), encode(dtype, normal(outputs, inputs, seed=1))
    assert_product_is_close(multiply(x, matrix), x, matrix)


@of_whole_numbers
@pytest.mark.parametrize("rows", [1, 2, 3, 5, 8, 9, 130])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_numbers_do_not_overflow(width: int, dtype: str, rows: int, sign: int) -> None:
    """Every product of a block is as large as it can be, and every sum in between."""
    inputs, outputs = 96, 33
    x = np.full((rows, inputs), 127, np.float32)
    x[:, 1::2] *= sign
    shape = (3, -(-inputs // 32), 16)
    codes = np.full((*shape[:2], 8 if dtype == "int8" else 4, 16, 4), 255, np.uint8)
    codes[:, 1] = 1 if dtype == "int8" else 0
    codes[:, 2, ..., ::2] = 1 if dtype == "int8" else 0
    matrix = Encoded(dtype, inputs, outputs, codes, np.full(shape, 0x3F80, np.uint16))
    exact = x.astype(np.float64) @ decode(matrix).T
    np.testing.assert_array_equal(multiply(x, matrix), exact)


@of_whole_numbers
@given(data=st.data())
@examples
def test_the_sum_of_a_block_is_exact(width: int, dtype: str, data: st.DataObject) -> None:
    """Whole numbers of any size, in a block whose scales are 1."""
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    rows, outputs = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 40))
    matrix = encode(dtype, generator.standard_normal((outputs, 32)))
    assert matrix.scales is not None
    matrix.scales[...] = 0x3F80
    x = generator.integers(-127, 128, (rows, 32)).astype(np.float32)
    x[:, generator.integers(32)] = 127
    whole = whole_numbers(dtype, matrix.codes).reshape(-1, 32)[:outputs]
    np.testing.assert_array_equal(multiply(x, matrix), x @ whole.T.astype(np.float32))


@every_dtype
@pytest.mark.parametrize("rows", [1, 5, 12, 97])
def test_a_product_may_be_added_to_its_output(width: int, dtype: str, rows: int) -> None:
    x, out = normal(rows, 40), normal(rows, 50, seed=2)
    matrix = encode(dtype, normal(50, 40, seed=1))
    expected = multiply(x, matrix, out.copy())
    np.testing.assert_array_equal(multiply(x, matrix, out, out), expected)


# ---- Parts of a product --------------------------------------------------------------------------


@every_dtype
@examples
@given(
    rows=st.integers(1, 20) | st.sampled_from([120, 121, 197]),
    inputs=st.sampled_from([13, 64, 65]),
    outputs=st.integers(1, 100),
    added=st.booleans(),
    data=st.data(),
)
def test_a_part_is_that_of_the_whole_and_leaves_the_rest_alone(
    width: int, dtype: str, rows: int, inputs: int, outputs: int, added: bool, data: st.DataObject
) -> None:
    x, matrix = normal(rows, inputs), encode(dtype, normal(outputs, inputs, seed=1))
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


@every_dtype
def test_a_part_that_ends_within_a_vector_ends_with_the_vector(width: int, dtype: str) -> None:
    """So that z may follow x within a vector."""
    x, matrix = normal(7, 13), encode(dtype, normal(150, 13, seed=1))
    out = np.zeros((7, 150), np.float32)
    multiply(x, matrix, out=out, columns=(16, 17))
    expected = np.zeros_like(out)
    written = np.s_[:, 16 : 16 + width]
    expected[written] = multiply(x, matrix)[written]
    np.testing.assert_array_equal(out, expected)


@every_dtype
@pytest.mark.parametrize("rows", [2, 3, 4, 6, 7, 9, 130])
def test_a_row_alone_has_the_bits_that_it_has_among_others(
    width: int, dtype: str, rows: int
) -> None:
    x, matrix = normal(rows, 75), encode(dtype, normal(44, 75, seed=1))
    together = multiply(x, matrix)
    for t in range(rows):
        np.testing.assert_array_equal(multiply(x[t : t + 1], matrix)[0], together[t])


# ---- NaN and infinity ----------------------------------------------------------------------------


@every_dtype
@pytest.mark.parametrize("value", [np.nan, -np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("rows", [1, 4, 13])
def test_what_is_not_finite_spoils_its_row_and_no_other(
    width: int, dtype: str, rows: int, value: float
) -> None:
    clean, matrix = normal(rows, 50), encode(dtype, normal(75, 50, seed=1))
    expected = multiply(clean, matrix)
    for t in range(rows):
        x = clean.copy()
        x[t, 33] = value
        found = multiply(x, matrix)
        assert not np.isfinite(found[t]).any()
        np.testing.assert_array_equal(np.delete(found, t, 0), np.delete(expected, t, 0))
        if dtype != "bfloat16":
            assert np.isnan(found[t]).all()
            in_numpy = np.empty_like(found)
            block_matrix(matrix).multiply(x, in_numpy)
            np.testing.assert_array_equal(np.isnan(in_numpy), np.isnan(found))


# ---- In a program --------------------------------------------------------------------------------


def packed(matrix: Encoded) -> object:
    kernels = extension.kernels()
    assert kernels is not None
    return Packing(kernels.width, kernels.panel).pack(matrix)


def run(program: Program, ids: np.ndarray, num_threads: int) -> np.ndarray:
    kernels = extension.kernels()
    assert kernels is not None
    compiled = kernels.program(program)
    out = np.full((1, program.out[0] * program.out[1]), np.nan, np.float32)
    memory = np.full(compiled.workspace_size(num_threads), np.nan, np.float32)
    compiled.forward([ids], out, memory, state=None, num_threads=num_threads, spans=None)
    return out.reshape(program.out)


@every_dtype
@pytest.mark.parametrize("inputs", [1, 31, 70])
def test_embeddings_are_those_of_the_table(width: int, dtype: str, inputs: int) -> None:
    table = encode(dtype, normal(50, inputs))
    b = Builder((1, 60), (60, inputs))
    with b.rows(60):
        b.lookup(packed(table), b.out)
    ids = np.random.default_rng(0).integers(0, 50, (1, 60)).astype(np.intc)
    found = run(b.program(), ids, 2)
    np.testing.assert_array_equal(found, decode(table)[ids[0]])


@every_dtype
@pytest.mark.parametrize("tokens", [1, 4, 150])
@pytest.mark.parametrize("outputs", [37, 80])
def test_a_programs_products_are_those_of_the_kernel(
    width: int, dtype: str, tokens: int, outputs: int
) -> None:
    """Rows are split, columns are split, and columns from some column on."""
    table, matrix = encode(dtype, normal(50, 70)), encode(dtype, normal(outputs, 70, seed=1))
    half = 24
    b = Builder((1, tokens), (tokens, outputs))
    x, whole, split = b.array(tokens, 70), b.array(tokens, outputs), b.array(tokens, outputs)
    with b.rows(tokens):
        b.lookup(packed(table), x)
        b.product("rows", x, packed(matrix), whole)
    with b.columns(half, tokens):
        b.product("left", x, packed(matrix), split)
    with b.columns(outputs - half, tokens, block=60):
        b.product("right", x, packed(matrix), split, column=half)
    with b.rows(tokens):
        b.copy("copy", split, b.out)
    ids = np.random.default_rng(0).integers(0, 50, (1, tokens)).astype(np.intc)
    expected = multiply(decode(table)[ids[0]], matrix)
    for num_threads in (1, 2, 5):
        np.testing.assert_array_equal(run(b.program(), ids, num_threads), expected)
    with b.rows(tokens):
        b.copy("copy", whole, b.out)
    np.testing.assert_array_equal(run(b.program(), ids, 2), expected)


@of_whole_numbers
def test_a_matrix_costs_the_bytes_that_it_has(width: int, dtype: str) -> None:
    matrix = encode(dtype, normal(64, 64))
    b = Builder((1, 1), (1, 64))
    x = b.array(1, 64)
    with b.rows(1):
        b.product("p", x, packed(matrix), b.out)
    assert b.program().costs["p"].bytes == matrix.nbytes + 2 * 64 * 4


def test_another_shape_is_refused(width: int) -> None:
    matrix = encode("int8", normal(50, 70))
    for x, out in (((3, 71), (3, 50)), ((3, 70), (3, 49)), ((3, 70), (2, 50))):
        with pytest.raises(ValueError, match="does not fit"):
            multiply(normal(*x), matrix, out=normal(*out))
