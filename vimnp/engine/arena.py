"""Memory: for a network's parameters, and for the passes that run at the moment."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

import numpy as np

from vimnp.ops.kernels import aligned_empty, whole_lines

Space = TypeVar("Space")

Allocate = Callable[..., np.ndarray]
"""Makes an array of float32 of a shape, not initialised, that begins at a cache line."""

_SMALLEST_BLOCK, _LARGEST_BLOCK = 1 << 10, 1 << 21  # floats; NumPy's large arrays are of 4 MB


class Arena:
    """Memory for all parameters, in a few large blocks.

    For large arrays NumPy asks the system for pages of 2 MB. The hundreds of small ones that a
    network has would each take pages of 4 KB, 7,000 of them in Vim-tiny, and to be given those is
    a large part of loading.

    Parameters
    ----------
    wanted : int
        Floats in all, about: what exceeds it gets smaller blocks.
    """

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self._rests: list[np.ndarray] = []

    @classmethod
    def of(cls, num_parameters: int) -> Arena:
        """For a network of so many parameters, with what fills vectors and lines."""
        return cls(num_parameters * 26 // 25)

    def expect_less(self, floats: int) -> None:
        """So many of those that were wanted will not be asked for."""
        self._wanted -= floats

    def empty(self, *shape: int) -> np.ndarray:
        """An array of float32, not initialised, that begins at a cache line."""
        size = math.prod(shape)
        place = self._place(size)
        rest = self._rests[place]
        self._rests[place] = rest[whole_lines(size) :]
        self._wanted -= size
        return rest[:size].reshape(shape)

    def _place(self, size: int) -> int:
        """Which block has room: the first that does, or else a new one.

        Large matrices would leave much of a block empty, if nothing else went there any more.
        """
        for place, rest in enumerate(self._rests):
            if size <= len(rest):
                return place
        missing = self._wanted - sum(map(len, self._rests))
        usual = min(max(missing, _SMALLEST_BLOCK), _LARGEST_BLOCK)
        self._rests.append(aligned_empty(max(size, usual)))
        return len(self._rests) - 1

    def copy(self, array: np.ndarray) -> np.ndarray:
        """A contiguous copy."""
        copy = self.empty(*array.shape)
        copy[...] = array
        return copy


class Spares(Generic[Space]):
    """Workspaces that no pass has at the moment.

    A pass takes one and gives it back; where there is none, it makes another. There are as many as
    passes have ever run at once, whatever threads they ran on, and a signal handler that comes in
    between gets one of its own. A list's ``pop`` and ``append`` need no lock.

    Parameters
    ----------
    make : callable
        Makes a workspace.
    """

    def __init__(self, make: Callable[[], Space]) -> None:
        self._make = make
        self._unused: list[Space] = []

    def __len__(self) -> int:
        return len(self._unused)

    @contextlib.contextmanager
    def one(self) -> Iterator[Space]:
        """A workspace for the time of a pass, whatever it holds."""
        try:
            space = self._unused.pop()
        except IndexError:
            space = self._make()
        try:
            yield space
        finally:
            self._unused.append(space)


class SpareMemory:
    """The same for memory of any size: a pass takes what lies there if that is large enough.

    Otherwise the pass makes a larger one, which it leaves in the other's place: a network's
    programs share what the largest of them needs.
    """

    def __init__(self) -> None:
        self._unused: list[np.ndarray] = []

    def __len__(self) -> int:
        return len(self._unused)

    @contextlib.contextmanager
    def one(self, size: int) -> Iterator[np.ndarray]:
        """So many floats or more for the time of a pass, whatever they hold."""
        try:
            memory = self._unused.pop()
        except IndexError:
            memory = aligned_empty(size)
        if len(memory) < size:
            del memory  # before the larger one is made
            memory = aligned_empty(size)
        try:
            yield memory
        finally:
            self._unused.append(memory)
