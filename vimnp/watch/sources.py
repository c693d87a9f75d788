"""Which camera or video somebody means, and what reads it here."""

from __future__ import annotations

import glob
import os
import stat
import sys

from vimnp.errors import CameraError, ConfigError
from vimnp.watch import ffmpeg, opencv
from vimnp.watch.addresses import Address, parse_address
from vimnp.watch.frames import Camera, Stream

PI = "pi"
_DEVICES = "/dev/video"
_EXPECTED = "expected the number of a camera, pi, an address, or a video file"
_HOW_TO_GET = "sudo apt install ffmpeg, or pip install 'vimnp[camera]' for OpenCV"


def find_camera(text: str, every: float) -> Camera:
    """The camera or video of this name.

    Parameters
    ----------
    text : str
        The number of a camera (on Linux, that of ``/dev/video0``) or its device, which may be a
        link such as those in ``/dev/v4l/by-id``; "pi", the Raspberry Pi's own; an address (http,
        https, rtsp, rtsps); or a video file.
    every : float
        Seconds between the pictures that are looked at.

    Raises
    ------
    ConfigError
        If it is none of these.
    CameraError
        If there is no such device or file, or nothing here that reads it.
    """
    if text == PI:
        return Camera("the Pi's camera", True, lambda: _open_pi(every))
    if text.isdecimal() and text.isascii() and len(text) < 10:
        return _find_device(int(text), every)
    if "://" in text:
        address = parse_address(text)
        return Camera(address.name, True, lambda: _open_address(address, every))
    return _find_file(text, every)


def _open_pi(every: float) -> Stream:
    from vimnp.watch.pi_camera import PiCameraStream

    return PiCameraStream("the Pi's camera", every)


def _find_device(number: int, every: float) -> Camera:
    path = f"{_DEVICES}{number}"
    if sys.platform == "linux" and not os.path.exists(path):
        others = sorted(glob.glob(f"{_DEVICES}*"))
        there = f"there are {', '.join(others)}" if others else f"there is no {_DEVICES}* at all"
        raise CameraError(f"--camera {number}: there is no {path}; {there}")
    if sys.platform == "linux" and ffmpeg.is_there():
        source = ffmpeg.device_input(path)
        return Camera(path, True, lambda: ffmpeg.FfmpegStream(path, source, every, recorded=False))
    name = f"camera {number}"
    if not opencv.is_there():
        where = "" if sys.platform == "linux" else " (here: only OpenCV)"
        raise CameraError(f"{name}: needs ffmpeg or OpenCV{where}: {_HOW_TO_GET}")
    return Camera(name, True, lambda: opencv.OpenCvStream(name, number, every, recorded=False))


def _open_address(address: Address, every: float) -> Stream:
    """What answers with JPEG files is read without another program."""
    if address.scheme.startswith("http"):
        from vimnp.watch.http_camera import HttpCamera

        camera = HttpCamera(address)
        if camera.kind.startswith(("multipart/", "image/")):
            return camera.stream(every)
        camera.hang_up()
        if camera.kind.startswith("text/"):
            raise CameraError(
                f"{address.name}: answers with a page ({camera.kind}); expected the address of the "
                "pictures themselves: MJPEG, a JPEG file, or a video"
            )
    if ffmpeg.is_there():
        source = ffmpeg.address_input(address.given)
        return ffmpeg.FfmpegStream(
            address.name, source, every, recorded=False, secrets=address.secrets
        )
    if opencv.is_there():
        return opencv.OpenCvStream(address.name, address.given, every, recorded=False)
    raise CameraError(f"{address.name}: needs ffmpeg or OpenCV: {_HOW_TO_GET}")


def _find_file(path: str, every: float) -> Camera:
    try:
        kind = os.stat(path).st_mode
    except OSError as error:
        raise CameraError(f"{path}: {error.strerror}; {_EXPECTED}") from None
    except ValueError:
        raise ConfigError(f"--camera: there is a zero byte in the name; {_EXPECTED}") from None
    number = os.path.realpath(path).removeprefix(_DEVICES)  # /dev/v4l/by-id has links to these
    if stat.S_ISCHR(kind) and number.isdecimal():
        return _find_device(int(number), every)
    if not stat.S_ISREG(kind):
        raise CameraError(f"{path}: is neither a file nor a camera; {_EXPECTED}")
    if ffmpeg.is_there():
        source = ffmpeg.file_input(path)
        return Camera(path, False, lambda: ffmpeg.FfmpegStream(path, source, every, recorded=True))
    if opencv.is_there():
        return Camera(path, False, lambda: opencv.OpenCvStream(path, path, every, recorded=True))
    raise CameraError(f"{path}: needs ffmpeg or OpenCV: {_HOW_TO_GET}")
