"""Chunks of pictures: none is lost, and none is given up but for what it does."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vimnp.jobs.chunks import CHUNK, Chunk, Chunks, chunk_size

FAILURES = 1  # deaths that the scheduler of this fake cluster keeps to itself


class FakeCluster:
    """Runs chunks in any order; a worker that dies takes others' chunks in its hands along."""

    def __init__(self, files: Sequence[str], deadly: set[str], size: int, seed: int) -> None:
        self.random = random.Random(seed)
        self.deadly = deadly
        self.chunks = Chunks(files, size)
        self.running: list[Chunk] = []
        self.failures: dict[Chunk, int] = {}
        self.found: list[str] = []
        self.given_up: list[str] = []
        self.deaths = 0

    def run(self, most: int) -> None:
        while not self.chunks.is_done:
            while (chunk := self.chunks.take(most)) is not None:
                self.running.append(chunk)
                assert not any(each.is_suspect for each in self.running) or self.running == [chunk]
            assert 0 < len(self.running) <= most
            self.step(self.random.choice(self.running))

    def step(self, chunk: Chunk) -> None:
        if self.random.random() < 0.1:
            self.running.remove(chunk)
            self.chunks.put_back(chunk)
        elif self.deadly.isdisjoint(chunk.files):
            self.running.remove(chunk)
            self.chunks.finish(chunk)
            self.found += chunk.files
        else:
            self.deaths += 1
            others = [each for each in self.running if each is not chunk]
            for each in (chunk, *self.random.sample(others, len(others) // 2)):
                self.fail(each)

    def fail(self, chunk: Chunk) -> None:
        self.failures[chunk] = self.failures.get(chunk, 0) + 1
        if chunk.is_suspect or self.failures[chunk] > FAILURES:
            self.running.remove(chunk)
            if (file := self.chunks.blame(chunk)) is not None:
                self.given_up.append(file)


@given(st.integers(0, 200), st.sets(st.integers(0, 199), max_size=4), st.integers(1, 70), st.data())
def test_each_picture_comes_back_once(
    number: int, deadly: set[int], size: int, data: st.DataObject
) -> None:
    files = [str(index) for index in range(number)]
    killers = {str(index) for index in deadly if index < number}
    cluster = FakeCluster(files, killers, size, data.draw(st.integers(0, 1 << 30)))
    cluster.run(data.draw(st.integers(1, 9)))
    assert sorted(cluster.given_up) == sorted(killers)
    assert sorted(cluster.found) == sorted({*files} - killers)


@pytest.mark.parametrize("place", [0, 31, 63, 70])
def test_a_deadly_picture_is_found_by_halving(place: int) -> None:
    files = [str(index) for index in range(128)]
    cluster = FakeCluster(files, {str(place)}, 64, seed=0)
    cluster.run(4)
    assert cluster.deaths == FAILURES + 1 + 7 + 1  # 64 pictures, 32, 16, 8, 4, 2, 1, and 1 again


def test_a_picture_that_was_beside_a_deadly_one_is_not_given_up_for_it() -> None:
    chunks = Chunks(["a", "b"], 1)
    first, second = chunks.take(2), chunks.take(2)
    assert (first, second) == (Chunk(("a",)), Chunk(("b",)))
    assert first is not None
    assert second is not None
    assert chunks.blame(first) is None
    assert chunks.take(2) is None  # b is still running
    assert chunks.blame(second) is None
    suspect = chunks.take(2)
    assert suspect == Chunk(("a",), True)
    assert chunks.take(2) is None  # it is alone
    assert suspect is not None
    chunks.finish(suspect)
    alone = chunks.take(2)
    assert alone == Chunk(("b",), True)
    assert alone is not None
    assert chunks.blame(alone) is None
    last = chunks.take(2)
    assert last == Chunk(("b",), True, True)
    assert last is not None
    assert chunks.blame(last) == "b"
    assert chunks.is_done


@given(st.integers(0, 10**6), st.integers(0, 100))
def test_every_worker_has_something_to_do(number: int, places: int) -> None:
    size = chunk_size(number, places)
    assert 1 <= size <= CHUNK
    assert size == CHUNK or number / size <= 4 * max(1, places)
