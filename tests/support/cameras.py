"""Cameras to test with: one that answers by HTTP, and a program in the place of ffmpeg."""

from __future__ import annotations

import base64
import contextlib
import http.server
import io
import os
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from tests.support.digits import SCANS


def jpeg_of(digit: int) -> bytes:
    """A scan of a digit, as a camera would send it."""
    file = io.BytesIO()
    with Image.open(SCANS[digit]) as scan:
        scan.convert("RGB").resize((64, 64), Image.Resampling.NEAREST).save(file, "JPEG")
    return file.getvalue()


def pixels_of(digit: int) -> np.ndarray:
    """A scan of a digit in red, green and blue, of 64x64 pixels."""
    with Image.open(SCANS[digit]) as scan:
        return np.asarray(scan.convert("RGB").resize((64, 64), Image.Resampling.NEAREST))


Answer = Callable[[http.server.BaseHTTPRequestHandler], None]
"""Answers one request."""


class HttpCamera:
    """A server, and what it was asked for."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: list[str] = []


@contextlib.contextmanager
def http_camera(answer: Answer) -> Iterator[HttpCamera]:
    """A camera at an address of this machine."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            camera.asked.append(self.path)
            with contextlib.suppress(OSError):  # whoever asked has seen enough
                answer(self)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        camera = HttpCamera(f"http://127.0.0.1:{server.server_port}/stream")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield camera
        finally:
            server.shutdown()
            thread.join()


def send(
    request: http.server.BaseHTTPRequestHandler, kind: str, body: bytes, code: int = 200
) -> None:
    """A whole answer."""
    request.send_response(code)
    request.send_header("Content-Type", kind)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)


def begin_mjpeg(request: http.server.BaseHTTPRequestHandler, boundary: str = "frame") -> None:
    request.send_response(200)
    request.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={boundary}")
    request.end_headers()


def mjpeg_part(data: bytes, *, boundary: str = "frame", with_length: bool = True) -> bytes:
    """A picture among others."""
    length = f"Content-Length: {len(data)}\r\n" if with_length else ""
    head = f"--{boundary}\r\nContent-Type: image/jpeg\r\n{length}\r\n"
    return head.encode() + data + b"\r\n"


def asks_for_password(request: http.server.BaseHTTPRequestHandler, userinfo: str) -> bool:
    """Refuses who does not say this user and password; returns whether it did."""
    wanted = "Basic " + base64.b64encode(userinfo.encode()).decode()
    if request.headers.get("Authorization") == wanted:
        return False
    request.send_response(401)
    request.send_header("WWW-Authenticate", 'Basic realm="camera"')
    request.send_header("Content-Length", "0")
    request.end_headers()
    return True


def ppm_of(pixels: np.ndarray) -> bytes:
    height, width, _ = pixels.shape
    return b"P6\n%d %d\n255\n" % (width, height) + pixels.tobytes()


def fake_ffmpeg(folder: Path, code: str) -> Path:
    """A program called ffmpeg that runs this code; puts its arguments into ``arguments``.

    ``put(data)`` in the code writes to the standard output.
    """
    folder.mkdir(exist_ok=True)
    program = folder / "ffmpeg"
    program.write_text(
        f"#!{sys.executable} -I\n"
        "import os, pathlib, sys, time\n"
        f"here = pathlib.Path({os.fspath(folder)!r})\n"
        '(here / "arguments").write_text("\\n".join(sys.argv[1:]))\n'
        "def put(data):\n"
        "    sys.stdout.buffer.write(data)\n"
        "    sys.stdout.buffer.flush()\n" + code
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program
