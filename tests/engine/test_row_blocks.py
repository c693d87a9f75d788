"""Stages of rows that pass in blocks, and arrays of other rows: no bit depends on either."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.implementations import NATIVE_WAYS, Way, only
from tests.support.programs import packed, reading_tokens, run
from vimnp.engine.builder import Builder
from vimnp.engine.program import Array, ProgramError

ROWS, CHANNELS, HIDDEN = 77, 24, 40


def through_a_stage(block: int | None, num_threads: int) -> np.ndarray:
    """Tokens through a norm and two products in one stage."""
    random = np.random.default_rng(0)
    weight, bias = random.standard_normal((2, CHANNELS)).astype(np.float32)
    up = random.standard_normal((CHANNELS, HIDDEN)).astype(np.float32)
    down = random.standard_normal((HIDDEN, CHANNELS)).astype(np.float32)
    b, tokens = reading_tokens(ROWS, CHANNELS, (ROWS, CHANNELS))
    normed, hidden = b.array(ROWS, CHANNELS), b.array(ROWS, HIDDEN)
    with b.rows(ROWS, block=block):
        b.norm(tokens, normed, weight, bias, 1e-5)
        b.product("up", normed, packed(up), hidden, activation="gelu")
        b.product("down", hidden, packed(down), b.out, add=tokens)
    pixels = random.standard_normal((1, ROWS, CHANNELS)).astype(np.float32)
    return run(b.program(), pixels, num_threads)


@only(NATIVE_WAYS)
@pytest.mark.parametrize("block", [1, 7, 32, 76, 77, 200])
def test_rows_pass_in_blocks(block: int, way: Way) -> None:
    expected = through_a_stage(None, 1)
    for num_threads in (1, 2, 5):
        np.testing.assert_array_equal(through_a_stage(block, num_threads), expected)


def test_a_block_has_a_row() -> None:
    b = Builder((1, ROWS, CHANNELS), (ROWS, CHANNELS))
    with pytest.raises(ProgramError, match="a stage of"), b.rows(ROWS, block=-1):
        pass


def test_an_array_has_other_rows() -> None:
    together = Array(7, 5, 12, 4, 12)
    assert together.reshaped(3, 16) == Array(7, 5, 16, 3, 16)
    assert together.reshaped(1, 2) == Array(7, 5, 2, 1, 2)
    assert together.part(1, 1).columns(2, 8).reshaped(3, 2) == Array(7, 19, 2, 3, 2)
    for array, rows in ((together, 5), (together.columns(0, 6), 2), (together.backward(), 2)):
        with pytest.raises(ProgramError, match="rows of 12 are asked of"):
            array.reshaped(rows, 12)
