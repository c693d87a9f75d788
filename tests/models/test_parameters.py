"""Where parameters lie in memory."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import vimnp
from tests.support.micro import MICRO
from vimnp.engine import arena as module
from vimnp.engine.arena import Arena
from vimnp.engine.packing import transposed
from vimnp.models.precision import PRECISIONS, bytes_in_memory
from vimnp.ops.kernels import aligned_empty
from vimnp.runtime import extension

SHAPES = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 40)), max_size=30)


@given(wanted=st.integers(0, 5000), shapes=SHAPES)
def test_arrays_of_an_arena_begin_at_a_cache_line_and_lie_apart(wanted, shapes):
    arena = Arena(wanted)
    arrays = [arena.empty(*shape) for shape in shapes]
    for number, array in enumerate(arrays):
        array.fill(number)
        assert array.dtype == np.float32
        assert array.flags.c_contiguous
        assert array.ctypes.data % 64 == 0 or not array.size
    for number, (array, shape) in enumerate(zip(arrays, shapes, strict=True)):
        assert array.shape == shape
        assert (array == number).all()


def test_what_is_wanted_lies_in_one_block():
    arena = Arena(1000)
    first, second = arena.empty(10, 16), arena.empty(3, 16)
    assert second.ctypes.data == first.ctypes.data + first.nbytes
    assert first.base is second.base


def test_more_than_is_wanted_finds_room_too(monkeypatch):
    monkeypatch.setattr(module, "_LARGEST_BLOCK", 64)
    arena = Arena(100)
    assert [arena.empty(size).size for size in (50, 50, 50, 1000)] == [50, 50, 50, 1000]


def test_what_a_large_matrix_leaves_of_a_block_is_used(monkeypatch):
    monkeypatch.setattr(module, "_LARGEST_BLOCK", 1024)
    sizes = [600, 400] * 10 + [2000, 300, 100] * 5
    arena = Arena(sum(sizes))
    blocks = {id(array.base): array.base.size for array in map(arena.empty, sizes)}
    assert sum(blocks.values()) < 1.1 * sum(sizes)


def test_a_transpose_is_a_copy():
    arena = Arena(100)
    matrix = np.arange(6, dtype=np.float32).reshape(2, 3)
    copy = transposed(matrix, arena.empty)
    np.testing.assert_array_equal(copy, matrix.T)
    assert copy.flags.c_contiguous
    assert not np.shares_memory(copy, matrix)


@pytest.mark.skipif(extension.loaded() is None, reason="needs the compiled kernels")
def test_whole_numbers_take_no_room_for_floats(monkeypatch: pytest.MonkeyPatch) -> None:
    """In int8 a network's large matrices take a quarter of what its parameters would."""
    blocks: list[int] = []

    def counted(*shape: int) -> np.ndarray:
        blocks.append(4 * math.prod(shape))
        return aligned_empty(*shape)

    monkeypatch.setattr(module, "aligned_empty", counted)
    monkeypatch.setattr(module, "_LARGEST_BLOCK", 1 << 16)
    config = dataclasses.replace(MICRO, embed_dim=128, depth=4)
    for precision in PRECISIONS:
        blocks.clear()
        vimnp.VisionMamba.random(config=config, backend="native", precision=precision)
        taken = bytes_in_memory(precision, config)
        assert taken < sum(blocks) < 1.25 * taken
