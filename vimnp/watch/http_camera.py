"""Cameras that send JPEG files by HTTP: one after another (MJPEG), or one each time it is asked.

Python's own client does: neither takes ffmpeg. A picture that nobody looks at is not decoded.
"""

from __future__ import annotations

import contextlib
import http.client
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

from vimnp.errors import CameraError, excerpt
from vimnp.watch.addresses import Address
from vimnp.watch.frames import Frame, Pace

_TIMEOUT = 10.0  # seconds without a byte
_MOST_BYTES = 1 << 25  # of a picture: 32 MB
_LINE = 1 << 16  # bytes; of a picture, so many are read at once
_MOST_HEADERS = 100


class HttpCamera:
    """An address that was asked for a picture, and answers.

    Parameters
    ----------
    address : Address

    Raises
    ------
    CameraError
        If it does not answer, or refuses.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
        if address.user is not None:
            passwords.add_password(None, address.url, address.user, address.password or "")
        self._opener = urllib.request.build_opener(
            urllib.request.HTTPBasicAuthHandler(passwords),
            urllib.request.HTTPDigestAuthHandler(passwords),
        )
        self._answer = self._ask()

    @property
    def kind(self) -> str:
        """What the answer is, as in "image/jpeg"."""
        kind: str = self._answer.headers.get_content_type()
        return kind

    def hang_up(self) -> None:
        self._answer.close()

    def stream(self, every: float) -> MjpegStream | SnapshotStream:
        """Its pictures; the answer must be one picture, or several parts."""
        if self.kind.startswith("multipart/"):
            return MjpegStream(self._address.name, self._answer, every)
        return SnapshotStream(self, every)

    def snapshot(self) -> bytes:
        """The picture that was sent; the next time, another one."""
        with _refused_as_a_camera_error(self._address.name):
            answer = self._answer if not self._answer.closed else self._ask()
            with answer:
                data: bytes = answer.read(_MOST_BYTES + 1)
        _expect_within_limit(self._address.name, len(data))
        return data

    def _ask(self) -> Any:
        with _refused_as_a_camera_error(self._address.name):
            return self._opener.open(self._address.url, timeout=_TIMEOUT)


class SnapshotStream:
    """One picture each time that one is due."""

    def __init__(self, camera: HttpCamera, every: float) -> None:
        self._camera, self._every = camera, every
        self._closed = threading.Event()

    def __iter__(self) -> Iterator[Frame]:
        pace = Pace(self._every)
        try:
            while not self._closed.is_set():
                if pace.is_due():
                    yield Frame(self._camera.snapshot())
                self._closed.wait(pace.left())
        finally:
            self._camera.hang_up()

    def close(self) -> None:
        self._closed.set()


class MjpegStream:
    """The parts of a ``multipart/x-mixed-replace`` answer.

    Parameters
    ----------
    name : str
        What messages call the camera.
    answer : http.client.HTTPResponse
    every : float
        Seconds between pictures.
    """

    def __init__(self, name: str, answer: Any, every: float) -> None:
        self._name, self._answer, self._every = name, answer, every
        self._closed = False
        # Some cameras say "--x" for a boundary and send "--x", others send "----x".
        self._boundary = (answer.headers.get_boundary() or "").strip("- ").encode()

    def __iter__(self) -> Iterator[Frame]:
        pace = Pace(self._every)
        with self._answer, _refused_as_a_camera_error(self._name):
            line = self._line()
            while not self._closed:
                while not self._parts(line):
                    line = self._line()
                if line.strip().endswith(b"--") and not self._boundary.endswith(b"--"):
                    break
                data, line = self._part()
                if data and pace.is_due():
                    yield Frame(data)
        raise CameraError(f"{self._name}: the camera has ended the stream")

    def close(self) -> None:
        self._closed = True  # to close the answer would wait for the thread that reads it

    def _part(self) -> tuple[bytes, bytes]:
        """A part's content, and the line after it."""
        length = self._length_of_part()
        if length is not None:
            _expect_within_limit(self._name, length)
            data = self._answer.read(length)
            if len(data) < length:
                raise CameraError(f"{self._name}: the camera has broken off within a picture")
            return data, self._line()
        found = bytearray()
        line = self._line()
        while not (self._parts(line) and (not found or found.endswith(b"\n"))):
            found += line
            _expect_within_limit(self._name, len(found))
            line = self._line()
        return bytes(found.removesuffix(b"\n").removesuffix(b"\r")), line

    def _length_of_part(self) -> int | None:
        length = None
        for _ in range(_MOST_HEADERS):
            line = self._line().strip()
            if not line:
                return length
            name, _, value = line.partition(b":")
            value = value.strip()
            if name.strip().lower() == b"content-length" and value.isdigit() and len(value) < 19:
                length = int(value)
        raise CameraError(
            f"{self._name}: a part has over {_MOST_HEADERS} headers; expected a picture in JPEG"
        )

    def _parts(self, line: bytes) -> bool:
        """Whether a line stands between two parts."""
        return line.startswith(b"--") and line.lstrip(b"-").startswith(self._boundary)

    def _line(self) -> bytes:
        line: bytes = self._answer.readline(_LINE)
        if not line or self._closed:
            raise CameraError(f"{self._name}: the camera has ended the stream")
        return line


def _expect_within_limit(name: str, length: int) -> None:
    if length > _MOST_BYTES:
        raise CameraError(f"{name}: sends a picture of over {_MOST_BYTES >> 20} MB; expected less")


@contextlib.contextmanager
def _refused_as_a_camera_error(name: str) -> Iterator[None]:
    """What goes wrong on the network becomes a CameraError that begins with the camera's name."""
    try:
        yield
    except urllib.error.HTTPError as error:
        with error:
            reason = f"the camera answers {error.code} {excerpt(error.reason)}"
        if error.code == 401:
            reason += "; expected its user and password, as in http://USER:PASSWORD@HOST/"
        raise CameraError(f"{name}: {reason}") from None
    except TimeoutError:
        raise CameraError(f"{name}: nothing came for {_TIMEOUT:.0f} seconds") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        if isinstance(error, CameraError):
            raise
        reason = excerpt(getattr(error, "reason", None) or error or type(error).__name__, 200)
        raise CameraError(f"{name}: {reason}") from None
