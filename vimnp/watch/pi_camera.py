"""The Raspberry Pi's own camera, by picamera2."""

from __future__ import annotations

from collections.abc import Iterator

from vimnp.errors import CameraError, excerpt
from vimnp.watch.frames import Frame, Pace

_SIZE = (640, 480)  # pixels: any network here looks at fewer


class PiCameraStream:
    """The pictures of a ``picamera2.Picamera2``.

    Parameters
    ----------
    name : str
        What messages call the camera.
    every : float
        Seconds between pictures.

    Raises
    ------
    CameraError
        If picamera2 is missing, or there is no camera that it can start.
    """

    def __init__(self, name: str, every: float) -> None:
        try:
            from picamera2 import Picamera2
        except ImportError:
            raise CameraError(
                f"{name}: the Pi's camera takes picamera2: sudo apt install python3-picamera2, and "
                "a virtual environment that is made with --system-site-packages"
            ) from None
        self._name, self._every = name, every
        self._closed = False
        self._camera = None
        try:
            self._camera = Picamera2()
            # picamera2 names the bytes from the last one: this is red, green, blue in an array.
            main = {"size": _SIZE, "format": "BGR888"}
            self._camera.configure(self._camera.create_video_configuration(main=main))
            self._camera.start()
        except Exception as error:  # of libcamera; IndexError where there is no camera
            if self._camera is not None:
                self._camera.close()
            reason = excerpt(str(error) or type(error).__name__, 200)
            raise CameraError(f"{name}: picamera2 cannot start the camera: {reason}") from None

    def __iter__(self) -> Iterator[Frame]:
        assert self._camera is not None
        pace = Pace(self._every)
        try:
            while not self._closed:
                pixels = self._camera.capture_array("main")
                if pace.is_due():
                    yield Frame(pixels)
        except Exception as error:
            reason = excerpt(str(error) or type(error).__name__, 200)
            raise CameraError(f"{self._name}: no more pictures: {reason}") from None
        finally:
            self._camera.close()

    def close(self) -> None:
        self._closed = True  # the thread that waits for a picture lets go of the camera
