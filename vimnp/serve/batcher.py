"""What waits while a batch runs is the next batch: nothing waits for others to come."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batcher(Generic[Item, Result]):
    """Collects what is asked for one by one, and has it done together.

    Parameters
    ----------
    run : callable
        Gives a result for each of some items.
    executor : Executor
        Of one thread, where the networks run; several batchers may share it.
    most : int
        Items of a batch.
    note : callable, optional
        Is told the size of each batch.
    """

    def __init__(
        self,
        run: Callable[[list[Item]], Sequence[Result]],
        executor: Executor,
        most: int,
        note: Callable[[int], None] = lambda count: None,
    ) -> None:
        self._run, self._executor, self._most, self._note = run, executor, most, note
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    async def __call__(self, item: Item) -> Result:
        """The result for an item, whatever else is in its batch.

        Raises
        ------
        Exception
            What `run` raises, of any item of the batch.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._waiting.append((item, future))
        if self._task is None:
            self._task = loop.create_task(self._run_all())
        return await future

    async def _run_all(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                futures, results, error = await loop.run_in_executor(self._executor, self._run_next)
                if futures:
                    self._note(len(futures))
                for index, future in enumerate(futures):
                    if future.done():  # who asked has gone
                        continue
                    if error is not None:
                        future.set_exception(error)
                    else:
                        future.set_result(results[index])
        finally:
            self._task = None

    def _run_next(
        self,
    ) -> tuple[list[asyncio.Future[Result]], Sequence[Result], Exception | None]:
        """A batch of those who wait when the executor gets to it."""
        items: list[Item] = []
        futures: list[asyncio.Future[Result]] = []
        while self._waiting and len(items) < self._most:
            item, future = self._waiting.popleft()
            if not future.cancelled():
                items.append(item)
                futures.append(future)
        try:
            return futures, self._run(items) if items else [], None
        except Exception as error:
            return futures, [], error
