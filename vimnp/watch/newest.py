"""The newest picture of a camera, which is opened again where it breaks off."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator

from vimnp.errors import CameraError, VimnpError, excerpt
from vimnp.watch.frames import Camera, Frame, Stream

SILENCE = 15.0  # seconds without a picture, after which a camera counts as broken off
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0  # seconds before it is opened again


def frames_of(camera: Camera, every: float, tell: Callable[[str], None]) -> Generator[Frame]:
    """The pictures of a camera, or of a recording.

    Of a camera, the newest at the time that one is asked for: what came before has been let go.

    Parameters
    ----------
    camera : Camera
    every : float
        Seconds between pictures.
    tell : callable
        Is given a sentence when a camera breaks off, and when it is back.

    Raises
    ------
    CameraError
        If it cannot be opened, or breaks off before its first picture; or a recording is damaged.
    """
    if camera.live:
        yield from _newest(camera, every, tell)
        return
    stream = camera.open()
    try:
        yield from stream
    finally:
        stream.close()


def _newest(camera: Camera, every: float, tell: Callable[[str], None]) -> Generator[Frame]:
    pause, was_there, is_away = FIRST_PAUSE, False, False
    while True:
        try:
            with _Reader(camera.open()) as reader:
                while True:
                    frame = reader.take(SILENCE + 2 * every, camera.name)
                    if is_away:
                        tell(f"{camera.name}: is back")
                    pause, was_there, is_away = FIRST_PAUSE, True, False
                    yield frame
        except CameraError as error:
            if not was_there:
                raise
            if not is_away:
                tell(f"{error}; it is opened again until it is back")
            is_away = True
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


class _Reader:
    """A thread that reads a stream, and keeps its newest picture."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._changed = threading.Condition()
        self._frame: Frame | None = None
        self._error: VimnpError | None = None
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> _Reader:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self._thread.join(timeout=1.0)  # one that hangs in a driver is left behind

    def take(self, timeout: float, name: str) -> Frame:
        """The newest picture that was not taken yet. Raises CameraError if there comes none."""
        with self._changed:
            self._changed.wait_for(lambda: self._frame or self._error, timeout)
            frame, self._frame = self._frame, None
            if frame is not None:
                return frame
            raise self._error or CameraError(f"{name}: no picture came for {timeout:.0f} seconds")

    def _read(self) -> None:
        try:
            for frame in self._stream:
                self._put(frame=frame)
            error: VimnpError = CameraError("the camera was closed")
        except VimnpError as raised:
            error = raised
        except Exception as raised:  # a thread's exceptions would be nobody's
            error = CameraError(excerpt(str(raised) or type(raised).__name__, 200))
        self._put(error=error)

    def _put(self, frame: Frame | None = None, error: VimnpError | None = None) -> None:
        with self._changed:
            self._frame, self._error = frame or self._frame, error
            self._changed.notify_all()
