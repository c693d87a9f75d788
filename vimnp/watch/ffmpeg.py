"""Cameras and videos that the program ffmpeg reads.

It runs beside this process and writes its pictures into a pipe, as PPM: each begins with its size,
and to decode that takes no time. Pictures that nobody will look at it leaves out before they are
converted to RGB.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from collections.abc import Iterator, Sequence
from typing import IO

import numpy as np

from vimnp.errors import CameraError, excerpt
from vimnp.watch.frames import Frame

_PROGRAM = "ffmpeg"
PROTOCOLS = "rtsp,rtsps,rtp,srtp,udp,tcp,tls,http,https,crypto,httpproxy"
"""What may be read of an address, and of what that names."""
FILES = "file"
"""What may be read of a file, and of what that names."""
_RATE = 25  # pictures a second that ffmpeg is told: nobody reads it


def is_there() -> bool:
    """Whether ffmpeg can be run."""
    return shutil.which(_PROGRAM) is not None


def device_input(path: str) -> list[str]:
    """What ffmpeg is told of a V4L2 device."""
    return ["-f", "v4l2", "-i", path]


def address_input(url: str) -> list[str]:
    """What ffmpeg is told of an address. It follows no list of files that leads to files here."""
    if url.lower().startswith("rtsp"):
        # By UDP, a packet that is lost tears a picture.
        return ["-protocol_whitelist", PROTOCOLS, "-rtsp_transport", "tcp", "-i", url]
    return ["-protocol_whitelist", PROTOCOLS, "-i", url]


def file_input(path: str) -> list[str]:
    """What ffmpeg is told of a file, which may list other files, and nothing of the network."""
    return ["-protocol_whitelist", FILES, "-i", f"file:{path}"]


class FfmpegStream:
    """The pictures of an ffmpeg.

    Parameters
    ----------
    name : str
        What messages call the camera.
    source : sequence of str
        The options that say what ffmpeg reads.
    every : float
        Seconds between pictures: exactly in a recording, which has times of its own, and about so
        many of a camera, whose clock may jump.
    recorded : bool
        Whether it may come to an end.
    secrets : sequence of str
        What messages must not repeat.

    Raises
    ------
    CameraError
        If ffmpeg cannot be started.
    """

    def __init__(
        self,
        name: str,
        source: Sequence[str],
        every: float,
        *,
        recorded: bool,
        secrets: Sequence[str] = (),
    ) -> None:
        self._name, self._every, self._recorded = name, every, recorded
        self._secrets = secrets
        filters = _in_recorded_time(every) if recorded else _in_passing_time(every)
        command = [_PROGRAM, "-nostdin", "-hide_banner", "-loglevel", "error", *source]
        command += ["-map", "0:v:0", *filters, "-pix_fmt", "rgb24"]
        command += ["-f", "image2pipe", "-c:v", "ppm", "pipe:1"]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except OSError as error:
            raise CameraError(f"{name}: ffmpeg cannot be run: {error}") from None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._pictures = self._process.stdout
        self._last_words = ""
        self._listener = threading.Thread(
            target=self._listen, args=(self._process.stderr,), daemon=True
        )
        self._listener.start()

    def __iter__(self) -> Iterator[Frame]:
        count = 0
        try:
            while (pixels := _read_ppm(self._pictures, self._name)) is not None:
                yield Frame(pixels, count * self._every if self._recorded else None)
                count += 1
            self._expect_the_end(count)
        finally:
            self.close()
            self._pictures.close()
            self._listener.join()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def _listen(self, words: IO[bytes]) -> None:
        """Keep the last of what ffmpeg says: of a camera that runs for weeks, it says much."""
        with words:
            for line in iter(lambda: words.readline(1000), b""):
                if line.strip():
                    self._last_words = line.decode(errors="replace").strip()

    def _expect_the_end(self, count: int) -> None:
        """Raise CameraError unless this is the end of a recording that ffmpeg could read."""
        code = self._process.wait()
        self._listener.join()
        words = self._last_words
        for secret in self._secrets:
            words = words.replace(secret, "***")
        if words:
            raise CameraError(f"{self._name}: {excerpt(words, 300)} (says ffmpeg)")
        if code or not self._recorded:
            raise CameraError(f"{self._name}: ffmpeg has ended, with exit code {code}")
        if not count:
            raise CameraError(f"{self._name}: there is no picture in it")


def _in_recorded_time(every: float) -> list[str]:
    """What stands in the recording at each time, and not what comes half a step later."""
    return ["-vf", f"fps=fps=1/{every:.6f}:round=up"]


def _in_passing_time(every: float) -> list[str]:
    """Leave pictures out, and make none.

    `fps` would fill a gap with copies of a picture, and where a camera sets its clock a gap may be
    of years. So times only tell which pictures are chosen, and these are numbered anew.
    """
    gap = f"gte(abs(t-prev_selected_t),{0.9 * every:.6f})"
    chosen = f"select='isnan(prev_selected_t)+{gap}',settb=1/{_RATE},setpts=N"
    return ["-vf", chosen, "-r", str(_RATE)]


def _read_ppm(file: IO[bytes], name: str) -> np.ndarray | None:
    """The next picture of several in a row; None where there is no whole one."""
    from PIL import Image

    header = b"".join(file.readline(32) for _ in range(3))
    size = re.fullmatch(rb"P6\n(\d{1,6}) (\d{1,6})\n255\n", header)
    if size is None:
        return None
    width, height = int(size[1]), int(size[2])
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and width * height > limit:
        raise CameraError(
            f"{name}: its pictures have {width}x{height} pixels; expected at most {limit}: "
            "have the camera send smaller ones"
        )
    data = file.read(3 * width * height)
    if len(data) < 3 * width * height:
        return None
    return np.frombuffer(data, np.uint8).reshape(height, width, 3)
