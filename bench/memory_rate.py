"""How fast this machine reads memory that no cache holds: bench/peers/language asks.

The C library's memchr looks for a byte that is not there: it reads whole vectors and does next to
nothing with them, and Python's threads are no hindrance while it runs.
"""

from __future__ import annotations

import ctypes
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

BYTES = 500_000_000


class Memory:
    """Memory to read, with a number of threads that each have a part of it.

    Parameters
    ----------
    num_threads : int
    size : int
        Bytes.
    """

    def __init__(self, num_threads: int, size: int = BYTES) -> None:
        self.size = size
        self._memory = np.zeros(size, np.uint8)
        self._memory.fill(1)  # so that each page is there
        self._parts = np.array_split(self._memory, num_threads)
        self._threads = ThreadPoolExecutor(num_threads)
        self._find = ctypes.CDLL(None).memchr
        self._find.restype = ctypes.c_void_p
        self._find.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]

    def read(self) -> float:
        """Seconds of reading all of it."""
        start = time.perf_counter()
        for found in self._threads.map(self._read_part, self._parts):
            assert found is None
        return time.perf_counter() - start

    def _read_part(self, part: np.ndarray) -> int | None:
        return self._find(part.ctypes.data, 0, part.size)
