"""A picture of a camera, and what gives one after another."""

from __future__ import annotations

import dataclasses
import io
import time
from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np


@dataclasses.dataclass(frozen=True)
class Frame:
    """One picture.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (H, W, 3), or bytes
        RGB, or the file that the camera sent, which is decoded if somebody looks at it.
    seconds : float, optional
        Where it stands in a recording.
    """

    pixels: np.ndarray | bytes
    seconds: float | None = None

    def picture(self) -> np.ndarray | io.BytesIO:
        """What a network takes."""
        return io.BytesIO(self.pixels) if isinstance(self.pixels, bytes) else self.pixels

    def file(self) -> bytes:
        """What the camera sent, or a JPEG file of it."""
        if isinstance(self.pixels, bytes):
            return self.pixels
        from PIL import Image

        file = io.BytesIO()
        Image.fromarray(self.pixels).save(file, "JPEG", quality=90)
        return file.getvalue()


class Stream(Protocol):
    """An open camera or video."""

    def __iter__(self) -> Iterator[Frame]:
        """Its pictures, as many as are asked for; of a camera, until it breaks off.

        Raises
        ------
        CameraError
            If there are no more, and not because the recording is over.
        """

    def close(self) -> None:
        """Let go of it. Another thread may be waiting for a picture: it gets none."""


@dataclasses.dataclass(frozen=True)
class Camera:
    """What can be opened, and again where it breaks off.

    Parameters
    ----------
    name : str
        As messages call it: without a password.
    live : bool
        Whether its pictures are of now. A recording's wait until they are looked at.
    open : callable
        Returns the open stream, or raises CameraError.
    """

    name: str
    live: bool
    open: Callable[[], Stream]


class Pace:
    """Tells which of a camera's pictures to look at.

    Parameters
    ----------
    every : float
        Seconds between them.
    """

    def __init__(self, every: float) -> None:
        self._every = every
        self._due = time.monotonic()

    def is_due(self) -> bool:
        """Whether to take the picture that there is now."""
        now = time.monotonic()
        # A camera of 2 pictures a second that is asked for 2 may be a little early.
        if now < self._due - self._every / 10:
            return False
        self._due = max(self._due, now - self._every) + self._every
        return True

    def left(self) -> float:
        """Seconds until the next picture is due."""
        return max(0.0, self._due - time.monotonic())
