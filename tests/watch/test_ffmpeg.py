"""What is read by ffmpeg: with ffmpeg itself, and with a program in its place that misbehaves."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import vimnp
from tests.support.cameras import fake_ffmpeg, http_camera, send
from tests.support.digits import SCANS
from tests.support.rtsp import rtsp_camera
from vimnp.errors import CameraError
from vimnp.watch import sources
from vimnp.watch.ffmpeg import FfmpegStream, address_input, device_input
from vimnp.watch.frames import Frame
from vimnp.watch.sources import find_camera

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
by_script = pytest.mark.skipif(sys.platform == "win32", reason="a script stands in for ffmpeg")


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of a 3, two of a 7 and two of a 1, with 10 pictures a second."""
    path = tmp_path_factory.mktemp("videos") / "-digits: [0].mkv"
    command = ["ffmpeg", "-loglevel", "error"]
    for digit in (3, 7, 1):
        command += ["-framerate", "10", "-loop", "1", "-t", "2", "-i", str(SCANS[digit])]
    joined = "[0][1][2]concat=n=3,scale=64:64:flags=neighbor"
    command += ["-filter_complex", joined, "-c:v", "ffv1", f"file:{path}"]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return path


def number_of(frame: Frame) -> str | None:
    assert isinstance(frame.pixels, np.ndarray)
    assert frame.pixels.shape == (64, 64, 3)
    found = vimnp.load("digits").predict(frame.pixels)[0]
    return found.label


@needs_ffmpeg
@pytest.mark.parametrize("every", [0.5, 1.5])
def test_a_video_shows_what_stands_in_it_at_each_time(video: Path, every: float) -> None:
    camera = find_camera(str(video), every)
    assert not camera.live
    found = [(frame.seconds, number_of(frame)) for frame in camera.open()]
    assert [seconds for seconds, _ in found] == [i * every for i in range(len(found))]
    assert len(found) == int(5.9 / every) + 1
    for seconds, label in found:
        assert seconds is not None
        assert label == ("3" if seconds < 2 else "7" if seconds < 4 else "1")


@needs_ffmpeg
def test_a_video_that_is_cut_short_gives_what_it_has_and_an_error(
    video: Path, tmp_path: Path
) -> None:
    whole = video.read_bytes()
    for name, data in (("none.mkv", whole[:600]), ("text.mp4", b"no video"), ("empty.mp4", b"")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(CameraError, match=name):
            list(find_camera(str(tmp_path / name), 0.5).open())


@pytest.fixture(params=["ffmpeg", "opencv"])
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Videos are read by ffmpeg, and by OpenCV."""
    if request.param == "opencv":
        pytest.importorskip("cv2", reason="needs OpenCV")
        monkeypatch.setattr(sources.ffmpeg, "is_there", lambda: False)
    elif shutil.which("ffmpeg") is None:
        pytest.skip("needs ffmpeg")


def list_of(address: str) -> str:
    """A film in parts, as HLS lists it."""
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXTINF:6,\n{address}\n#EXT-X-ENDLIST\n"


@pytest.mark.usefixtures("reader")
def test_a_file_that_lists_addresses_leads_to_none(tmp_path: Path) -> None:
    with http_camera(lambda request: send(request, "video/mp2t", b"")) as camera:
        path = tmp_path / "list.m3u8"
        path.write_text(list_of(f"{camera.url}.ts"))
        with pytest.raises(CameraError):
            list(find_camera(str(path), 0.5).open())
        assert camera.asked == []


@needs_ffmpeg
@pytest.mark.usefixtures("reader")
def test_an_address_that_lists_files_leads_to_none(video: Path, tmp_path: Path) -> None:
    film = tmp_path / "film.ts"
    command = ["ffmpeg", "-loglevel", "error", "-i", f"file:{video}", "-c:v", "mpeg2video"]
    subprocess.run([*command, "-r", "25", str(film)], check=True, stdin=subprocess.DEVNULL)
    lists = list_of(f"file://{film}")
    kind = "application/vnd.apple.mpegurl"
    with (
        http_camera(lambda request: send(request, kind, lists.encode())) as camera,
        pytest.raises(CameraError),
    ):
        next(iter(find_camera(camera.url + ".m3u8", 0.5).open()))


@needs_ffmpeg
def test_an_address_of_a_video_is_read(video: Path) -> None:
    data = video.read_bytes()
    with http_camera(lambda request: send(request, "video/x-matroska", data)) as camera:
        frames = iter(find_camera(camera.url, 0.5).open())
        assert number_of(next(frames)) == "3"
        left = [number_of(frame) for frame in itertools.islice(frames, 3)]
        assert set(left) <= {"3", "7", "1"}
        frames.close()


@needs_ffmpeg
def test_a_camera_is_read_by_rtsp() -> None:
    with rtsp_camera(SCANS[7]) as address:
        camera = find_camera(address.replace("//", "//me:secret@"), 0.1)
        assert (camera.name, camera.live) == (address, True)
        frames = iter(camera.open())
        assert [number_of(frame) for frame in itertools.islice(frames, 3)] == ["7"] * 3
        frames.close()


@needs_ffmpeg
def test_what_cannot_be_played_is_said_without_the_password() -> None:
    with http_camera(lambda request: send(request, "text/plain", b"")) as camera:
        url = camera.url.replace("http://", "rtsp://me:secret@")
        with pytest.raises(CameraError) as raised:
            list(find_camera(url, 0.5).open())
    assert "secret" not in str(raised.value)
    assert str(raised.value).startswith(url.replace("me:secret@", ""))


# ---- A program in the place of ffmpeg ------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where programs are looked for first."""
    folder = tmp_path / "bin"
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def live(every: float = 0.5) -> FfmpegStream:
    secrets = ("me:secret", "secret")
    return FfmpegStream("cam", address_input("rtsp://a"), every, recorded=False, secrets=secrets)


PICTURE = 'put(b"P6\\n2 1\\n255\\n" + bytes(range(6)))\n'


@by_script
def test_pictures_of_any_size_come_as_arrays(folder: Path) -> None:
    fake_ffmpeg(folder, PICTURE + 'put(b"P6\\n1 3\\n255\\n" + bytes(9))\n')
    frames = iter(live())
    first = next(frames).pixels
    assert isinstance(first, np.ndarray)
    np.testing.assert_array_equal(first, [[[0, 1, 2], [3, 4, 5]]])
    second = next(frames).pixels
    assert isinstance(second, np.ndarray)
    assert second.shape == (3, 1, 3)
    with pytest.raises(CameraError, match="cam: ffmpeg has ended, with exit code 0"):
        next(frames)


@by_script
@pytest.mark.parametrize(
    ("code", "words"),
    [
        ('put(b"P6\\n2 1\\n255\\n\\0\\0")', "has ended"),
        ('put(b"P5\\n2 1\\n255\\n")', "has ended"),
        ('put(b"P6\\n99999999999 1\\n255\\n")', "has ended"),
        ('put(b"P6\\n900000 900000\\n255\\n")', "900000x900000 pixels; expected at most"),
        ('print("rtsp://me:secret@a: no\\x1b[2J", file=sys.stderr)', r"no\?\[2J \(says ffmpeg\)"),
        ("sys.exit(7)", "exit code 7"),
    ],
)
def test_how_it_breaks_off_is_said(code: str, words: str, folder: Path) -> None:
    fake_ffmpeg(folder, PICTURE + code)
    frames = iter(live())
    next(frames)
    with pytest.raises(CameraError, match=words) as raised:
        next(frames)
    assert "secret" not in str(raised.value)


@by_script
def test_it_is_ended_when_it_is_closed(folder: Path) -> None:
    fake_ffmpeg(folder, PICTURE + "time.sleep(100)")
    stream = live()
    frames = iter(stream)
    next(frames)
    stream.close()
    with pytest.raises(CameraError):
        next(frames)


@by_script
def test_a_camera_of_this_machine_is_asked_by_its_device(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    exists = os.path.exists
    monkeypatch.setattr(
        sources.os.path, "exists", lambda path: path == "/dev/video1" or exists(path)
    )
    fake_ffmpeg(folder, PICTURE)
    camera = find_camera("1", 0.5)
    assert (camera.name, camera.live) == ("/dev/video1", True)
    next(iter(camera.open()))
    arguments = (folder / "arguments").read_text().splitlines()
    at = arguments.index("-i")
    assert arguments[at - 2 : at + 2] == device_input("/dev/video1")
    with pytest.raises(CameraError, match="--camera 0: there is no /dev/video0; there "):
        find_camera("0", 0.5)


@by_script
def test_a_link_to_a_device_is_that_camera(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = tmp_path / "usb-camera"
    link.symlink_to(os.devnull)  # a device that every machine has
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(sources.os.path, "realpath", lambda path: "/dev/video2")
    monkeypatch.setattr(sources.os.path, "exists", lambda path: True)
    fake_ffmpeg(folder, PICTURE)
    assert find_camera(str(link), 0.5).name == "/dev/video2"
    monkeypatch.undo()
    with pytest.raises(CameraError, match="is neither a file nor a camera"):
        find_camera(str(link), 0.5)
