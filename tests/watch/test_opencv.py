"""What is read by OpenCV, where there is no ffmpeg; and what is said where there is neither."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.cameras import jpeg_of, pixels_of
from vimnp.errors import CameraError, ConfigError
from vimnp.watch import sources
from vimnp.watch.sources import find_camera


@pytest.fixture
def no_ffmpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources.ffmpeg, "is_there", lambda: False)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Two seconds of a 3, and two of a 7, with 10 pictures a second."""
    cv2 = pytest.importorskip("cv2", reason="needs OpenCV")
    path = tmp_path / "digits.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 64))
    for digit in (3, 7):
        for _ in range(20):
            writer.write(pixels_of(digit)[..., ::-1])
    writer.release()
    return path


@pytest.mark.usefixtures("no_ffmpeg")
def test_a_video_shows_what_stands_in_it_at_each_time(video: Path) -> None:
    camera = find_camera(str(video), 0.5)
    assert not camera.live
    found = list(camera.open())
    np.testing.assert_allclose(
        [frame.seconds or 0 for frame in found], np.arange(8) * 0.5, atol=1e-3
    )
    for i, frame in enumerate(found):
        assert isinstance(frame.pixels, np.ndarray)
        assert np.abs(frame.pixels.astype(int) - pixels_of(3 if i < 4 else 7)).mean() < 10


@pytest.mark.usefixtures("no_ffmpeg")
def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("cv2", reason="needs OpenCV")
    (tmp_path / "text.mp4").write_bytes(b"no video")
    with pytest.raises(CameraError, match=r"text\.mp4: OpenCV cannot open it"):
        find_camera(str(tmp_path / "text.mp4"), 0.5).open()


@pytest.mark.usefixtures("no_ffmpeg")
def test_without_either_one_sentence_says_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources.opencv, "is_there", lambda: False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(sources.os.path, "exists", lambda path: path == "/dev/video0")
    (tmp_path / "video.mp4").write_bytes(jpeg_of(3))
    for text in ("0", "rtsp://127.0.0.1/", str(tmp_path / "video.mp4")):
        with pytest.raises(CameraError, match=r"needs ffmpeg or OpenCV: .*vimnp\[camera\]"):
            find_camera(text, 0.5).open()


def test_what_is_no_camera(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match=r"none\.mp4: No such file or directory; expected the nu"):
        find_camera(str(tmp_path / "none.mp4"), 0.5)
    with pytest.raises(CameraError, match="is neither a file nor a camera"):
        find_camera(str(tmp_path), 0.5)
    with pytest.raises(ConfigError, match="a zero byte"):
        find_camera("a\0b", 0.5)
