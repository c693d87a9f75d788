"""Who is let in: only so many requests, with so many bytes, are in memory at once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from vimnp.serve.errors import busy
from vimnp.serve.limits import Limits


class Admission:
    """Counts what is in hand. Only the event loop's thread uses it.

    Parameters
    ----------
    limits : Limits
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.requests = 0
        self.held_bytes = 0

    @contextlib.contextmanager
    def place(self) -> Iterator[Place]:
        """A place for a request, until its answer is over.

        Raises
        ------
        RequestError
            503 if all are taken.
        """
        if self.requests >= self._limits.requests:
            raise busy(f"{self.requests} requests are being answered")
        self.requests += 1
        place = Place(self)
        try:
            yield place
        finally:
            self.requests -= 1
            place.release()

    def hold(self, count: int) -> None:
        """Take up memory for so many bytes more. Raises RequestError, 503, if there is none."""
        if self.held_bytes + count > self._limits.held_bytes:
            raise busy(f"requests of {self.held_bytes:,} bytes are being answered")
        self.held_bytes += count


class Place:
    """What one request has in memory.

    Parameters
    ----------
    admission : Admission
    """

    def __init__(self, admission: Admission) -> None:
        self._admission, self._held = admission, 0

    def hold(self, count: int) -> None:
        """As :meth:`Admission.hold`."""
        self._admission.hold(count)
        self._held += count

    def release(self) -> None:
        """Nothing of it is in memory any more."""
        self._admission.held_bytes -= self._held
        self._held = 0
