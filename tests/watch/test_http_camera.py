"""Cameras that send JPEG files by HTTP, and servers that are none."""

from __future__ import annotations

import http.server
import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from tests.support.cameras import (
    asks_for_password,
    begin_mjpeg,
    http_camera,
    jpeg_of,
    mjpeg_part,
    send,
)
from vimnp.errors import CameraError, ConfigError
from vimnp.watch import http_camera as module
from vimnp.watch.addresses import parse_address
from vimnp.watch.frames import Frame, Pace
from vimnp.watch.sources import find_camera

Request = http.server.BaseHTTPRequestHandler
THREE, SEVEN = jpeg_of(3), jpeg_of(7)


@pytest.fixture(autouse=True)
def everything_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """How a machine's other work falls between two pictures decides nothing here."""
    monkeypatch.setattr(Pace, "is_due", lambda _: True)


def frames_at(url: str, count: int) -> list[bytes]:
    """The first pictures there."""
    stream = find_camera(url, 0.01).open()
    frames: Iterator[Frame] = iter(stream)
    found = []
    with closing(frames):
        for frame in itertools.islice(frames, count):
            assert isinstance(frame.pixels, bytes)
            assert frame.seconds is None
            found.append(frame.pixels)
    return found


@pytest.mark.parametrize("with_length", [True, False])
@pytest.mark.parametrize("boundaries", [("frame", "frame"), ("--frame", "frame"), ('"a b"', "a b")])
def test_pictures_come_one_after_another(with_length: bool, boundaries: tuple[str, str]) -> None:
    declared, sent = boundaries
    pictures = [THREE, SEVEN, b"\xff\xd8 any\r\n--bytes\r\n \xff\xd9"]

    def answer(request: Request) -> None:
        begin_mjpeg(request, declared)
        for each in pictures:
            request.wfile.write(mjpeg_part(each, boundary=sent, with_length=with_length))
        request.wfile.write(f"--{sent}\r\n".encode())

    with http_camera(answer) as camera:
        assert frames_at(camera.url, 3) == pictures
        assert len(camera.asked) == 1


def test_not_more_than_are_due(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([True, False, False, True])
    monkeypatch.setattr(Pace, "is_due", lambda _: next(answers))

    def answer(request: Request) -> None:
        begin_mjpeg(request)
        request.wfile.write(mjpeg_part(THREE) * 3 + mjpeg_part(SEVEN) * 2)

    with http_camera(answer) as camera:
        assert frames_at(camera.url, 2) == [THREE, SEVEN]


def test_an_address_of_one_picture_is_asked_again() -> None:
    pictures = itertools.cycle([THREE, SEVEN])
    with http_camera(lambda request: send(request, "image/jpeg", next(pictures))) as camera:
        assert frames_at(camera.url, 4) == [THREE, SEVEN, THREE, SEVEN]
        assert len(camera.asked) == 4


def test_the_password_goes_to_the_camera_and_into_no_message() -> None:
    def answer(request: Request) -> None:
        if not asks_for_password(request, "me:a@b"):
            begin_mjpeg(request)
            request.wfile.write(mjpeg_part(THREE) * 3)

    with http_camera(answer) as camera:
        assert frames_at(camera.url.replace("//", "//me:a%40b@"), 1) == [THREE]
        for userinfo in ("me:a%40c@", "me@", ""):
            with pytest.raises(CameraError) as raised:
                find_camera(camera.url.replace("//", f"//{userinfo}"), 1).open()
            message = str(raised.value)
            assert message.startswith(f"{camera.url}: the camera answers 401")
            assert "a%40c" not in message
            assert "a@c" not in message


def cut(request: Request) -> None:
    begin_mjpeg(request)
    request.wfile.write(mjpeg_part(THREE) + mjpeg_part(SEVEN)[:-300])


def ended(request: Request) -> None:
    begin_mjpeg(request)
    request.wfile.write(mjpeg_part(THREE) + b"--frame--\r\n")


def cut_between(request: Request) -> None:
    begin_mjpeg(request)
    # Without a length, a picture is whole when the next one begins.
    request.wfile.write(mjpeg_part(THREE, with_length=False) + b"--frame\r\n\r\n" + SEVEN)


def huge(request: Request) -> None:
    begin_mjpeg(request)
    request.wfile.write(mjpeg_part(THREE) + b"--frame\r\nContent-Length: 99999999999\r\n\r\n")


def endless(request: Request) -> None:
    begin_mjpeg(request)
    request.wfile.write(mjpeg_part(THREE) + b"--frame\r\n\r\n")
    while True:
        request.wfile.write(bytes(1 << 16))


def endless_headers(request: Request) -> None:
    begin_mjpeg(request)
    request.wfile.write(mjpeg_part(THREE) + b"--frame\r\n")
    while True:
        request.wfile.write(b"A: b\r\n" * 1000)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (cut, "broken off within a picture"),
        (ended, "has ended the stream"),
        (cut_between, "has ended the stream"),
        (huge, "over 0 MB; expected less"),
        (endless, "over 0 MB; expected less"),
        (endless_headers, "over 100 headers"),
    ],
)
def test_how_it_breaks_off_is_said(
    answer: Callable[[Request], None], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_BYTES", 1 << 19)
    with http_camera(answer) as camera:
        frames = iter(find_camera(camera.url, 0.01).open())
        assert next(frames).pixels == THREE
        with pytest.raises(CameraError, match=words) as raised:
            next(frames)
    assert str(raised.value).startswith(camera.url)


def test_a_page_is_no_camera() -> None:
    with (
        http_camera(lambda request: send(request, "text/html; charset=utf-8", b"<p>")) as camera,
        pytest.raises(CameraError, match=r"answers with a page \(text/html\); expected the addr"),
    ):
        find_camera(camera.url, 1).open()


def test_nobody_there_and_an_error() -> None:
    with http_camera(lambda request: send(request, "text/plain", b"", 503)) as camera:
        with pytest.raises(CameraError, match="answers 503"):
            find_camera(camera.url, 1).open()
        gone = camera.url
    with pytest.raises(CameraError, match=f"{gone}: "):
        find_camera(gone, 1).open()


def test_one_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TIMEOUT", 1.0)

    def answer(request: Request) -> None:
        begin_mjpeg(request)
        request.wfile.write(mjpeg_part(THREE))
        time.sleep(30)

    with http_camera(answer) as camera:
        frames = iter(find_camera(camera.url, 0.01).open())
        next(frames)
        with pytest.raises(CameraError, match="nothing came for"):
            next(frames)


@pytest.mark.parametrize(
    "text",
    ["ftp://a/b", "http://", "http://a b/", "http://a:x/", "file:///etc/passwd", "http://[/"],
)
def test_what_is_no_address_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ConfigError, match="no address of a camera; expected http://, ") as raised:
        parse_address(text)
    assert "passwd" not in str(raised.value)
