"""Cameras and videos by OpenCV, where there is no ffmpeg."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Iterator

import numpy as np

from vimnp.errors import CameraError
from vimnp.watch import ffmpeg
from vimnp.watch.frames import Frame, Pace

_OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"  # OpenCV has ffmpeg's libraries inside


def is_there() -> bool:
    """Whether OpenCV can be imported."""
    return importlib.util.find_spec("cv2") is not None


class OpenCvStream:
    """The pictures of a ``cv2.VideoCapture``.

    Parameters
    ----------
    name : str
        What messages call the camera.
    source : int or str
        A camera's number, or a path or address.
    every : float
        Seconds between pictures.
    recorded : bool
        Whether it may come to an end.

    Raises
    ------
    CameraError
        If OpenCV cannot open it.
    """

    def __init__(self, name: str, source: int | str, every: float, *, recorded: bool) -> None:
        import cv2

        self._name, self._every, self._recorded = name, every, recorded
        self._closed = False
        self._seconds = cv2.CAP_PROP_POS_MSEC
        with _bounded(recorded):
            self._capture = cv2.VideoCapture(source)
        if not self._capture.isOpened():
            self._capture.release()
            raise CameraError(f"{name}: OpenCV cannot open it; expected a camera or a video")

    def __iter__(self) -> Iterator[Frame]:
        count = 0
        try:
            for frame in self._recorded_frames() if self._recorded else self._live_frames():
                yield frame
                count += 1
        finally:
            self._capture.release()
        if not self._recorded:
            raise CameraError(f"{self._name}: OpenCV gets no more pictures of it")
        if not count:
            raise CameraError(f"{self._name}: there is no picture in it")

    def close(self) -> None:
        # The thread that reads lets go of it: to do that here, while it reads, would crash.
        self._closed = True

    def _live_frames(self) -> Iterator[Frame]:
        pace = Pace(self._every)
        while not self._closed and self._capture.grab():
            if pace.is_due():
                found, pixels = self._capture.retrieve()
                if not found:
                    return
                yield Frame(_as_rgb(pixels))

    def _recorded_frames(self) -> Iterator[Frame]:
        due = 0.0
        while not self._closed and self._capture.grab():
            seconds = self._capture.get(self._seconds) / 1000
            if seconds < due - 1e-3:  # a millisecond: OpenCV rounds
                continue
            found, pixels = self._capture.retrieve()
            if not found:
                return
            yield Frame(_as_rgb(pixels), seconds)
            due += self._every * (1 + max(0.0, seconds - due) // self._every)


@contextlib.contextmanager
def _bounded(recorded: bool) -> Iterator[None]:
    """Have OpenCV follow no list from files into the network, or from an address to files.

    Its interface for that is the environment; what the user has set there stays.
    """
    if _OPTIONS in os.environ:
        yield
        return
    protocols = ffmpeg.FILES if recorded else ffmpeg.PROTOCOLS
    os.environ[_OPTIONS] = f"protocol_whitelist;{protocols}|rtsp_transport;tcp"
    try:
        yield
    finally:
        del os.environ[_OPTIONS]


def _as_rgb(pixels: np.ndarray) -> np.ndarray:
    """OpenCV has blue first."""
    return np.ascontiguousarray(pixels[..., ::-1])
