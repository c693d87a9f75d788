"""What waits while a batch runs is the next batch."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vimnp.serve.batcher import Batcher


class Doubler:
    """Doubles numbers, and notes which came together; it can be held up."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def __call__(self, items: list[int]) -> list[int]:
        self.batches.append(items)
        self.may_go_on.wait(30)
        if -1 in items:
            raise ValueError("no negative ones")
        return [2 * item for item in items]


@given(items=st.lists(st.integers(0, 1000), max_size=20), most=st.integers(1, 9))
def test_each_gets_its_own_result_in_batches_of_no_more_than_the_most(
    items: list[int], most: int
) -> None:
    double = Doubler()
    sizes: list[int] = []

    async def ask() -> list[int]:
        with ThreadPoolExecutor(1) as executor:
            batcher = Batcher(double, executor, most, sizes.append)
            return await asyncio.gather(*map(batcher, items))

    assert asyncio.run(ask()) == [2 * item for item in items]
    assert [item for batch in double.batches for item in batch] == items
    assert [len(batch) for batch in double.batches] == sizes
    assert all(1 <= size <= most for size in sizes)


@contextlib.asynccontextmanager
async def held_up(double: Doubler) -> AsyncIterator[tuple[Batcher[int, int], asyncio.Task[int]]]:
    """What batches, while 0 is held up in the first batch."""
    with ThreadPoolExecutor(1) as executor:
        batcher = Batcher(double, executor, 8)
        double.may_go_on.clear()
        first = asyncio.create_task(batcher(0))
        while not double.batches:
            await asyncio.sleep(0.001)
        yield batcher, first


def test_what_waits_while_a_batch_runs_is_the_next_batch() -> None:
    double = Doubler()

    async def ask() -> None:
        async with held_up(double) as (batcher, first):
            others = [asyncio.create_task(batcher(item)) for item in (1, 2, 3)]
            await asyncio.sleep(0)
            assert len(batcher) == 3
            double.may_go_on.set()
            assert await asyncio.gather(first, *others) == [0, 2, 4, 6]

    asyncio.run(ask())
    assert double.batches == [[0], [1, 2, 3]]


def test_who_has_gone_is_left_out() -> None:
    double = Doubler()

    async def ask() -> None:
        async with held_up(double) as (batcher, first):
            gone, stays = (asyncio.create_task(batcher(item)) for item in (1, 2))
            await asyncio.sleep(0)
            gone.cancel()
            await asyncio.sleep(0)
            double.may_go_on.set()
            assert (await first, await stays) == (0, 4)

    asyncio.run(ask())
    assert double.batches == [[0], [2]]


def test_an_error_goes_to_those_in_the_batch_and_to_no_other() -> None:
    double = Doubler()

    async def ask() -> None:
        with ThreadPoolExecutor(1) as executor:
            batcher = Batcher(double, executor, 1)
            bad, good = await asyncio.gather(batcher(-1), batcher(3), return_exceptions=True)
            assert isinstance(bad, ValueError)
            assert good == 6
            with pytest.raises(ValueError, match="no negative"):
                await batcher(-1)
            assert await batcher(4) == 8

    asyncio.run(ask())
