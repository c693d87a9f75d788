"""Pictures in chunks for machines that may die: none is lost, and who kills machines is found.

A machine that dies says nothing of why. So whoever runs chunks elsewhere tells us which were in
hand, and a chunk that was so too often becomes a suspect: it runs alone from then on, so that the
next death is its own, and is halved with each, down to the one picture that is given up. Machines
die for other reasons, too, so that a picture by itself has one more chance.
"""

from __future__ import annotations

import collections
from collections.abc import Sequence
from typing import NamedTuple

CHUNK = 64
"""Pictures that are sent at once, at most: some seconds of work, and a small message."""

_CHUNKS_A_PLACE = 4  # so that machines end at about the same time


class Chunk(NamedTuple):
    """Pictures that are looked at together; a suspect must have the cluster to itself."""

    files: tuple[str, ...]
    is_suspect: bool = False
    is_last_chance: bool = False


class Chunks:
    """The pictures that are to be looked at, each in one chunk at any time.

    Parameters
    ----------
    files : sequence of str
        Each once.
    size : int
        Pictures of a chunk.
    """

    def __init__(self, files: Sequence[str], size: int = CHUNK) -> None:
        self._files = files
        self._size = size
        self._begin = 0
        self._again: collections.deque[Chunk] = collections.deque()
        self._suspects: collections.deque[Chunk] = collections.deque()
        self._running = 0
        self._alone = False

    @property
    def is_done(self) -> bool:
        """Whether there is nothing to take, and nothing was taken that has not come back."""
        return not (self._running or self._has_others() or self._suspects)

    def take(self, most: int) -> Chunk | None:
        """The next chunk to run; None if nothing may start now.

        Parameters
        ----------
        most : int
            How many chunks may run at once.
        """
        if self._alone or self._running >= most:
            return None
        if self._again:
            chunk = self._again.popleft()
        elif self._begin < len(self._files):
            chunk = Chunk(tuple(self._files[self._begin : self._begin + self._size]))
            self._begin += self._size
        elif self._suspects and not self._running:
            chunk = self._suspects.popleft()
            self._alone = True
        else:
            return None
        self._running += 1
        return chunk

    def finish(self, chunk: Chunk) -> None:
        """It has been run: its rows are here."""
        self._running -= 1
        self._alone = False

    def put_back(self, chunk: Chunk) -> None:
        """It has not been run, and nobody died of it."""
        self.finish(chunk)
        (self._suspects if chunk.is_suspect else self._again).appendleft(chunk)

    def blame(self, chunk: Chunk) -> str | None:
        """Those who had it in hand died.

        Returns
        -------
        str or None
            The picture that is given up.
        """
        self.finish(chunk)
        files = chunk.files
        if not chunk.is_suspect:  # what else ran there may be guilty
            self._suspects.append(Chunk(files, True))
            return None
        if chunk.is_last_chance:
            return files[0]
        if len(files) == 1:
            self._suspects.appendleft(Chunk(files, True, True))
            return None
        middle = len(files) // 2
        self._suspects.extendleft(Chunk(half, True) for half in (files[middle:], files[:middle]))
        return None

    def _has_others(self) -> bool:
        return bool(self._again) or self._begin < len(self._files)


def chunk_size(number: int, places: int) -> int:
    """Pictures of a chunk: :data:`CHUNK`, but fewer where some machines would have none.

    Parameters
    ----------
    number : int
        Of all pictures.
    places : int
        How many chunks are run at once.
    """
    return max(1, min(CHUNK, -(-number // (_CHUNKS_A_PLACE * max(1, places)))))
