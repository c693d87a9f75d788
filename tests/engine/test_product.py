"""The native backend's product: a matrix packed into panels, its tiles, and its seams.

Seams are tiles of 4 to 6 rows, blocks of 120, vectors of up to 16 outputs and panels of up to 64.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.arrays import normal
from tests.support.comparison import assert_close, examples
from vimnp.engine.packing import pack
from vimnp.runtime import extension


class Packing(NamedTuple):
    """Floats in a vector, and outputs in a panel."""

    width: int
    panel: int


@pytest.fixture(params=extension.usable_instruction_sets())
def packing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Packing:
    """That of every compiled instruction set, in turn, which is then in use."""
    monkeypatch.setenv("VIMNP_ISA", request.param)
    kernels = extension.kernels()
    assert kernels.name == request.param
    return Packing(kernels.width, kernels.panel)


def multiply(packing, x, matrix, addend=None, out=None, rows=None, columns=None):
    """addend + x @ matrix.T: all of it, or these rows and columns, into `out` if it is given."""
    if out is None:
        out = np.full((len(x), len(matrix)), np.nan, np.float32)
    rows, columns = rows or (0, len(x)), columns or (0, len(matrix))
    panels = pack(*packing, matrix)
    extension.kernels().product(x, panels, addend, out, rows=rows, columns=columns)
    return out


def assert_product_is_close(found, x, matrix, addend=None):
    x, matrix = x.astype(np.float64), matrix.astype(np.float64)
    addend = np.zeros(1) if addend is None else addend.astype(np.float64)
    # A sum of 768 float32 is rounded at every addition, by up to 6e-8 of what it has come to; that
    # is less than all terms together by far, and the roundings mostly cancel.
    terms = np.abs(addend) + np.abs(x) @ np.abs(matrix.T)
    assert_close(found, addend + x @ matrix.T, terms)


# ---- Packing -------------------------------------------------------------------------------------


def places(outputs: int, inputs: int, width: int, panel: int) -> np.ndarray:
    """Where each weight of a matrix (outputs, inputs) stands among its panels."""
    padded = (outputs + width - 1) // width * width
    output, input = np.indices((outputs, inputs))
    start = output // panel * panel
    return start * inputs + input * np.minimum(panel, padded - start) + output - start


@examples
@given(
    outputs=st.integers(1, 150),
    inputs=st.integers(1, 20),
    sizes=st.sampled_from([(1, 2), (4, 8), (4, 16), (8, 16), (16, 64)]),
)
def test_every_weight_is_found_among_the_panels_and_the_rest_is_zero(outputs, inputs, sizes):
    matrix = normal(outputs, inputs)
    packed = pack(*sizes, matrix)
    where = places(outputs, inputs, *sizes)
    np.testing.assert_array_equal(packed[where], matrix)
    assert len(np.unique(where)) == matrix.size
    assert not np.delete(packed, where).any()
    assert packed.size == inputs * (outputs + -outputs % sizes[0])


@pytest.mark.parametrize("outputs", [1, 44, 64])
def test_panels_are_a_copy_that_begins_at_a_cache_line(packing, outputs):
    matrix = normal(outputs, 12)
    packed = pack(*packing, matrix)
    assert not np.shares_memory(packed, matrix)
    assert packed.ctypes.data % 64 == 0


def test_a_strided_read_only_matrix_is_packed_as_its_copy(packing):
    matrix = normal(12, 88).T[::2]
    matrix.flags.writeable = False
    np.testing.assert_array_equal(pack(*packing, matrix), pack(*packing, matrix.copy()))


def test_panels_are_whole_vectors(packing):
    assert packing.panel % packing.width == 0


# ---- The arithmetic ------------------------------------------------------------------------------

ADDENDS = ["none", "one for each row", "the same for every row"]


@examples
@given(
    rows=st.integers(1, 20),
    inputs=st.integers(1, 50),
    outputs=st.integers(1, 150),
    added=st.sampled_from(ADDENDS),
    margin=st.sampled_from([0, 3]),
)
def test_products_agree_with_float64(packing, rows, inputs, outputs, added, margin):
    """On all columns of the arrays, or on those in the middle of wider ones."""
    inner = np.s_[:, margin : -margin or None]
    x = normal(rows, inputs + 2 * margin)[inner]
    matrix = normal(outputs, inputs, seed=1)
    addend, wide = normal(2, rows, outputs + 2 * margin, seed=2)
    addend = {
        "none": None,
        "one for each row": addend[inner],
        "the same for every row": np.broadcast_to(addend[inner][0], (rows, outputs)),
    }[added]
    expected = wide.copy()
    multiply(packing, x, matrix, addend, out=wide[inner])
    assert_product_is_close(wide[inner], x, matrix, addend)
    expected[inner] = wide[inner]
    np.testing.assert_array_equal(wide, expected)


# Those of Vim-tiny at 224x224: in_proj, x_proj, dt_proj, patches and head.
SHAPES = [(197, 192, 768), (197, 384, 44), (197, 12, 384), (196, 768, 192), (1, 192, 1000)]


@pytest.mark.parametrize(("rows", "inputs", "outputs"), SHAPES)
def test_products_of_the_networks_own_sizes_agree_with_float64(packing, rows, inputs, outputs):
    x, matrix = normal(rows, inputs), normal(outputs, inputs, seed=1)
    bias = np.broadcast_to(normal(outputs, seed=2), (rows, outputs))
    for addend in (None, bias):
        assert_product_is_close(multiply(packing, x, matrix, addend), x, matrix, addend)


@pytest.mark.parametrize("rows", [1, 5, 12, 97])
def test_a_product_may_be_added_to_its_output(packing, rows):
    """As the stream takes up what a mixer gives."""
    x, matrix, out = normal(rows, 40), normal(50, 40, seed=1), normal(rows, 50, seed=2)
    expected = multiply(packing, x, matrix, out.copy())
    np.testing.assert_array_equal(multiply(packing, x, matrix, out, out), expected)


def test_a_product_without_inputs_is_its_addend(packing):
    addend = normal(7, 50)
    found = multiply(packing, normal(7, 0), normal(50, 0), addend)
    np.testing.assert_array_equal(found, addend)


# ---- Parts of a product --------------------------------------------------------------------------


@examples
@given(
    rows=st.integers(1, 20) | st.sampled_from([96, 97, 120, 121, 197]),
    outputs=st.integers(1, 150),
    added=st.booleans(),
    data=st.data(),
)
def test_a_part_is_that_of_the_whole_and_leaves_the_rest_alone(packing, rows, outputs, added, data):
    x, matrix = normal(rows, 13), normal(outputs, 13, seed=1)
    addend = normal(rows, outputs, seed=2) if added else None
    whole = multiply(packing, x, matrix, addend)
    some_rows, some_columns = data.draw(parts(rows)), data.draw(parts(outputs, packing.width))
    expected = normal(rows, outputs, seed=3)
    out = expected.copy()
    multiply(packing, x, matrix, addend, out, some_rows, some_columns)
    part = slice(*some_rows), slice(*some_columns)
    expected[part] = whole[part]
    np.testing.assert_array_equal(out, expected)


def parts(length: int, step: int = 1) -> st.SearchStrategy[tuple[int, ...]]:
    """Where a part of whole steps begins and ends, or ends with the whole; it may be empty."""
    cuts = st.sampled_from([*range(0, length, step), length])
    return st.tuples(cuts, cuts).map(sorted).map(tuple).filter(lambda part: part[0] % step == 0)


def test_a_part_that_ends_within_a_vector_ends_with_the_vector(packing):
    """So that z may follow x within a vector."""
    x, matrix = normal(7, 13), normal(150, 13, seed=1)
    out = np.zeros((7, 150), np.float32)
    multiply(packing, x, matrix, out=out, columns=(packing.panel, packing.panel + 1))
    expected = np.zeros_like(out)
    written = np.s_[:, packing.panel : packing.panel + packing.width]
    expected[written] = multiply(packing, x, matrix)[written]
    np.testing.assert_array_equal(out, expected)


def test_a_part_that_begins_within_a_vector_is_refused(packing):
    for begin in range(1, packing.width):
        with pytest.raises(ValueError, match="columns does not fit"):
            multiply(packing, normal(7, 13), normal(50, 13), columns=(begin, 50))


@pytest.mark.parametrize("rows", [1, 6, 7, 100])
def test_a_row_alone_has_the_bits_that_it_has_among_others(packing, rows):
    x, matrix = normal(rows, 50), normal(44, 50, seed=1)
    together = multiply(packing, x, matrix)
    for t in range(rows):
        np.testing.assert_array_equal(multiply(packing, x[t : t + 1], matrix)[0], together[t])


# ---- NaN and infinity ----------------------------------------------------------------------------

every_odd_value = pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])


@every_odd_value
@pytest.mark.parametrize("rows", [1, 4, 13])
def test_what_is_not_finite_spoils_its_row_and_no_other(packing, rows, value):
    clean, matrix = normal(rows, 21), normal(75, 21, seed=1)
    for t in range(rows):
        x = clean.copy()
        x[t, 17] = value
        expected = multiply(packing, clean, matrix)
        expected[t] = value * matrix[:, 17]
        np.testing.assert_array_equal(multiply(packing, x, matrix), expected)


@every_odd_value
@pytest.mark.parametrize("output", [0, 15, 16, 63, 64, 74])
def test_a_weight_that_is_not_finite_spoils_its_column_and_no_other(packing, output, value):
    x, clean = normal(13, 21), normal(75, 21, seed=1)
    matrix = clean.copy()
    matrix[output, 17] = value
    expected = multiply(packing, x, clean)
    expected[:, output] = value * x[:, 17]
    np.testing.assert_array_equal(multiply(packing, x, matrix), expected)
