"""The newest picture of a camera, and what happens when it breaks off."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from vimnp.errors import CameraError
from vimnp.watch import newest
from vimnp.watch.frames import Camera, Frame, Pace
from vimnp.watch.newest import frames_of


def frame(number: int) -> Frame:
    return Frame(np.full((1, 1, 3), number, np.uint8))


def number_of(frame: Frame) -> int:
    assert isinstance(frame.pixels, np.ndarray)
    return int(frame.pixels[0, 0, 0])


class FakeStream:
    """Gives the pictures that are put, until it is told to break off."""

    def __init__(self, *numbers: int) -> None:
        self.waiting: queue.Queue[int | None] = queue.Queue()
        self.closed = threading.Event()
        self.taken = threading.Semaphore(0)
        for number in numbers:
            self.waiting.put(number)

    def __iter__(self) -> Iterator[Frame]:
        while (number := self.waiting.get()) is not None:
            yield frame(number)
            self.taken.release()
        raise CameraError("fake: broke off")

    def close(self) -> None:
        self.closed.set()
        self.waiting.put(None)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newest, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(newest, "LONGEST_PAUSE", 0.002)


def camera_of(*opened: FakeStream | Exception, live: bool = True) -> Camera:
    """What it gives each time that it is opened."""
    left = iter(opened)

    def open_() -> FakeStream:
        found = next(left)
        if isinstance(found, Exception):
            raise found
        return found

    return Camera("fake", live, open_)


def told() -> tuple[list[str], Callable[[str], None]]:
    said: list[str] = []
    return said, said.append


def test_what_came_before_the_newest_is_let_go() -> None:
    stream = FakeStream(1)
    frames = frames_of(camera_of(stream), 0.1, print)
    assert number_of(next(frames)) == 1
    for number in (2, 3, 4):
        stream.waiting.put(number)
    for _ in range(4):
        assert stream.taken.acquire(timeout=30)
    assert number_of(next(frames)) == 4
    frames.close()
    assert stream.closed.is_set()


def test_a_camera_that_breaks_off_is_opened_until_it_is_back() -> None:
    said, tell = told()
    first, second = FakeStream(1), FakeStream(2)
    camera = camera_of(first, CameraError("fake: away"), CameraError("fake: away"), second)
    frames = frames_of(camera, 0.1, tell)
    assert number_of(next(frames)) == 1
    first.waiting.put(None)
    assert number_of(next(frames)) == 2
    frames.close()
    assert said == ["fake: broke off; it is opened again until it is back", "fake: is back"]
    assert first.closed.is_set()
    assert second.closed.is_set()


def test_a_camera_that_falls_silent_is_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newest, "SILENCE", 1.0)
    said, tell = told()
    first, second = FakeStream(1), FakeStream(2)
    frames = frames_of(camera_of(first, second), 0.01, tell)
    assert [number_of(next(frames)), number_of(next(frames))] == [1, 2]
    frames.close()
    assert "no picture came for" in said[0]
    assert first.closed.is_set()


@pytest.mark.parametrize("opened", [CameraError("fake: away"), FakeStream()])
def test_one_that_never_gave_a_picture_is_an_error(opened: FakeStream | Exception) -> None:
    if isinstance(opened, FakeStream):
        opened.waiting.put(None)
    with pytest.raises(CameraError, match="fake: "):
        next(frames_of(camera_of(opened), 0.1, print))


def test_what_a_driver_raises_counts_as_breaking_off() -> None:
    class Failing(FakeStream):
        def __iter__(self) -> Iterator[Frame]:
            yield frame(1)
            raise RuntimeError("driver\x1b[2J")

    said, tell = told()
    frames = frames_of(camera_of(Failing(), FakeStream(2)), 0.1, tell)
    assert [number_of(next(frames)), number_of(next(frames))] == [1, 2]
    frames.close()
    assert said[0].startswith("driver?[2J; ")


def test_of_a_recording_every_picture_comes() -> None:
    stream = FakeStream(1, 2, 3)
    frames = frames_of(camera_of(stream, live=False), 0.1, print)
    assert [number_of(next(frames)) for _ in range(3)] == [1, 2, 3]
    frames.close()
    assert stream.closed.is_set()


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([0, 0.2, 0.4, 0.5, 0.9, 1.0], [0, 0.5, 1.0]),
        ([0, 0.498, 0.996, 1.49], [0, 0.498, 0.996, 1.49]),
        ([0, 100, 100.1, 100.6], [0, 100, 100.1, 100.6]),
    ],
)
def test_the_pace(
    times: list[float], expected: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr("vimnp.watch.frames.time.monotonic", lambda: clock[0])
    pace = Pace(0.5)

    def is_due(now: float) -> bool:
        clock[0] = now
        return pace.is_due()

    assert [*filter(is_due, times)] == expected
