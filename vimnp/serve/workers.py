"""The threads that work, while the event loop's own thread only receives and sends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")

_READERS = 2  # decoded pictures, the largest things that there are, are in memory at once


class Workers:
    """One thread in which networks run, by turns, and some that decode and take text apart.

    A pass uses all threads of the kernels by itself, so that two at once would only wait for each
    other.
    """

    def __init__(self) -> None:
        self.computing = ThreadPoolExecutor(1, "computing")
        self._reading = ThreadPoolExecutor(_READERS, "reading")

    async def compute(self, call: Callable[[], Result]) -> Result:
        """Have something done where the networks run."""
        return await asyncio.get_running_loop().run_in_executor(self.computing, call)

    async def read(self, call: Callable[[], Result]) -> Result:
        """Have something read, which takes no network."""
        return await asyncio.get_running_loop().run_in_executor(self._reading, call)

    def close(self) -> None:
        """Wait for what runs; what has not begun never will."""
        for each in (self._reading, self.computing):
            each.shutdown(cancel_futures=True)
