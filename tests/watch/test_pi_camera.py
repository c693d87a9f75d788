"""The Raspberry Pi's camera, by a module that stands in for picamera2."""

from __future__ import annotations

import sys
import types
from typing import Any

import numpy as np
import pytest

from vimnp.errors import CameraError
from vimnp.watch.sources import find_camera


class FakePicamera2:
    """Gives three pictures, then breaks off."""

    made: list[FakePicamera2]
    cameras = 1

    def __init__(self) -> None:
        if not self.cameras:
            raise IndexError("list index out of range")
        self.calls: list[Any] = []
        self.count = 0
        self.made.append(self)

    def create_video_configuration(self, main: dict[str, Any]) -> dict[str, Any]:
        return {"main": main}

    def configure(self, configuration: dict[str, Any]) -> None:
        self.calls.append(configuration)

    def start(self) -> None:
        self.calls.append("start")

    def capture_array(self, name: str) -> np.ndarray:
        assert name == "main"
        self.count += 1
        if self.count > 3:
            raise RuntimeError("Camera frontend has timed out!")
        return np.full((480, 640, 3), self.count, np.uint8)

    def close(self) -> None:
        self.calls.append("close")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakePicamera2]:
    module = types.ModuleType("picamera2")
    kind = type("Picamera2", (FakePicamera2,), {"made": []})
    vars(module)["Picamera2"] = kind
    monkeypatch.setitem(sys.modules, "picamera2", module)
    return kind


def test_it_is_configured_started_read_and_closed(
    fake: type[FakePicamera2], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vimnp.watch.frames.Pace.is_due", lambda _: True)
    camera = find_camera("pi", 0.5)
    assert (camera.name, camera.live) == ("the Pi's camera", True)
    frames = iter(camera.open())
    found = [next(frames).pixels for _ in range(3)]
    assert [int(np.asarray(pixels)[0, 0, 0]) for pixels in found] == [1, 2, 3]
    with pytest.raises(CameraError, match="no more pictures: Camera frontend has timed out!"):
        next(frames)
    (made,) = fake.made
    # picamera2 calls red, green, blue in this order "BGR888".
    assert made.calls == [{"main": {"size": (640, 480), "format": "BGR888"}}, "start", "close"]


def test_a_pi_without_a_camera(fake: type[FakePicamera2]) -> None:
    fake.cameras = 0
    with pytest.raises(CameraError, match="cannot start the camera: list index out of range"):
        find_camera("pi", 0.5).open()


def test_one_that_cannot_start_is_let_go(
    fake: type[FakePicamera2], monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(self: FakePicamera2) -> None:
        raise RuntimeError("Device or resource busy")

    monkeypatch.setattr(fake, "start", start)
    with pytest.raises(CameraError, match="busy"):
        find_camera("pi", 0.5).open()
    assert fake.made[0].calls[-1] == "close"


def test_without_picamera2_one_sentence_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(CameraError, match="sudo apt install python3-picamera2"):
        find_camera("pi", 0.5).open()
