"""``vimnp watch``."""

from __future__ import annotations

import dataclasses
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import vimnp
from tests.support.cameras import (
    begin_mjpeg,
    fake_ffmpeg,
    http_camera,
    jpeg_of,
    mjpeg_part,
    pixels_of,
    ppm_of,
    send,
)
from tests.support.commands import Command, assert_refused
from tests.support.processes import is_ours
from vimnp.commands import watch
from vimnp.watch import newest
from vimnp.watch.frames import Pace
from vimnp.weights import BUNDLED_DIGITS, WeightsFile, write_weights

by_script = pytest.mark.skipif(sys.platform == "win32", reason="a script stands in for ffmpeg")


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newest, "FIRST_PAUSE", 0.001)


@pytest.fixture
def video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """A file of which a program in the place of ffmpeg makes these digits, one each half second."""

    def of(*digits: int, code: str = "") -> Path:
        folder = tmp_path / "bin"
        folder.mkdir()
        (folder / "pictures").write_bytes(b"".join(ppm_of(pixels_of(digit)) for digit in digits))
        fake_ffmpeg(folder, 'put((here / "pictures").read_bytes())\n' + code)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        (tmp_path / "video.mp4").touch()
        return tmp_path / "video.mp4"

    return of


@by_script
def test_a_line_each_time_that_the_class_changes(
    command: Command, video: Callable[..., Path]
) -> None:
    run = command("watch", "--camera", video(3, 3, 7, 7, 3))
    assert run.code == 0
    assert [line.split() for line in run.out.splitlines()] == [
        ["0:00:00.00", "96.05%", "3"],
        ["0:00:01.00", "95.57%", "7"],
        ["0:00:02.00", "96.05%", "3"],
    ]
    assert "bundled model" in run.err


@by_script
def test_json_has_what_predict_has(command: Command, video: Callable[..., Path]) -> None:
    path = video(3, 3, 7)
    run = command("watch", "--camera", path, "--json", "--all", "--top-k", 2)
    lines = [json.loads(line) for line in run.out.splitlines()]
    assert [(line["label"], line["seconds"], line["new"]) for line in lines] == [
        ("3", 0.0, True),
        ("3", 0.5, False),
        ("7", 1.0, True),
    ]
    model = vimnp.load("digits")
    for line, digit in zip(lines, (3, 3, 7), strict=True):
        expected = model.predict(pixels_of(digit), 2)
        assert line["predictions"] == [vars(each) for each in expected]
        assert line["camera"] == str(path)


@by_script
def test_a_condition_is_told_when_it_begins_and_a_program_is_run(
    command: Command, video: Callable[..., Path], tmp_path: Path
) -> None:
    script = tmp_path / "told.py"
    out = tmp_path / "told"
    script.write_text(
        "import io, os, sys\n"
        "from PIL import Image\n"
        "picture = Image.open(io.BytesIO(sys.stdin.buffer.read()))\n"
        "facts = [os.environ['VIMNP_' + name] for name in ('LABEL', 'INDEX', 'WHEN', 'TIME')]\n"
        f"with open({str(out)!r}, 'a') as file:\n"
        "    print(*facts, float(os.environ['VIMNP_SCORE']) > 0.9, picture.format, file=file)\n"
        "print('heard')\n"
    )
    run = command(
        *("watch", "--camera", video(3, 7, 7, 3, 7), "--when", "7>0.9", "--when", "1 > 0.9"),
        *("--run", f"'{sys.executable}' '{script}'"),
    )
    assert [line.split() for line in run.out.splitlines()] == [
        ["0:00:00.50", "95.57%", "7", "(7>0.9)"],
        ["0:00:02.00", "95.57%", "7", "(7>0.9)"],
    ]
    assert out.read_text().splitlines() == [
        "7 7 7>0.9 0:00:00.50 True JPEG",
        "7 7 7>0.9 0:00:02.00 True JPEG",
    ]


@by_script
def test_labels_stand_as_they_print_and_run_nothing(
    command: Command, video: Callable[..., Path], tmp_path: Path
) -> None:
    hostile = "a\x1b[2J\0$(touch hacked)`touch hacked`;touch hacked"
    weights = tmp_path / "w.npz"
    with WeightsFile(BUNDLED_DIGITS) as file:
        metadata = dataclasses.replace(file.metadata, labels=(hostile, *"123456789"))
        tensors = [(name, file.read(name)) for name in metadata.config.parameter_shapes()]
    write_weights(weights, metadata, tensors)
    out = tmp_path / "told"
    script = f"import os; open({str(out)!r}, 'w').write(os.environ['VIMNP_LABEL'])"
    run = command(
        *("watch", "--weights", weights, "--camera", video(0)),
        *("--run", f"'{sys.executable}' -c \"{script}\""),
    )
    assert run.code == 0
    assert "\x1b" not in run.out
    assert out.read_text() == r"a\x1b[2J\x00$(touch hacked)`touch hacked`;touch hacked"
    assert not Path("hacked").exists()


def test_a_camera_that_sends_rubbish_and_breaks_off_is_watched_on(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two connections: a picture, half a picture and an end; then another digit."""
    connections: Iterator[int] = iter(range(1000))
    looked = threading.Semaphore(0)
    look = watch._Watcher.look

    def look_and_say_so(*arguments: Any) -> None:
        look(*arguments)
        looked.release()

    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        digit = 3 if next(connections) == 0 else 7
        begin_mjpeg(request)
        for data in (jpeg_of(digit), jpeg_of(digit)[:200], b"\xff\xd8"):
            request.wfile.write(mjpeg_part(data))
            looked.acquire(timeout=30)  # the next one would take its place

    monkeypatch.setattr(watch._Watcher, "look", look_and_say_so)
    monkeypatch.setattr(Pace, "is_due", lambda _: True)
    with http_camera(answer) as camera:
        run = command("watch", "--camera", camera.url, "--looks", 5, "--all")
    assert run.code == 0
    assert [line.split()[-1] for line in run.out.splitlines()] == ["3", "7"]
    assert run.err.count("cannot be read as a picture") == 2
    assert "<BytesIO>" not in run.err
    assert "has ended the stream; it is opened again until it is back" in run.err
    assert f"{camera.url}: is back" in run.err


def test_a_camera_s_picture_is_what_predict_would_see(command: Command, tmp_path: Path) -> None:
    (tmp_path / "seven.jpg").write_bytes(jpeg_of(7))
    expected = command("predict", tmp_path / "seven.jpg", "--json", "--top-k", 1)
    with http_camera(lambda request: send(request, "image/jpeg", jpeg_of(7))) as camera:
        run = command("watch", "--camera", camera.url, "--looks", 1, "--json", "--top-k", 1)
    found, (predicted,) = json.loads(run.out), json.loads(expected.out)
    assert found["predictions"] == predicted["predictions"]
    assert found["seconds"] is None


@by_script
@pytest.mark.usefixtures("signals_as_usual")
@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "ended by SIGTERM")],
)
def test_a_signal_ends_it_and_what_it_started(
    number: signal.Signals, code: int, word: str, video: Callable[..., Path], tmp_path: Path
) -> None:
    writing = '(here / "pid").write_text(str(os.getpid()))\n'
    path = video(3, code=writing + "time.sleep(100)\n")
    clean = {name: value for name, value in os.environ.items() if not is_ours(name)}
    with subprocess.Popen(
        [sys.executable, "-m", "vimnp", "watch", "--camera", path, "--every", "0.1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=clean,
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline().split()[-1] == "3"
            pid_file = tmp_path / "bin" / "pid"
            while process.poll() is None and not (pid_file.exists() and pid_file.read_text()):
                time.sleep(0.01)
            process.send_signal(number)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, out) == (code, "")
    assert err.splitlines()[-1] == f"vimnp: {word}"
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--camera", "nowhere.mp4"], ["nowhere.mp4: No such file", "expected the number of a"]),
        (["--camera", "ftp://camera/"], ["no address of a camera"]),
        (["--camera", ""], ["--camera", "empty"]),
        ([], ["--camera"]),
        (["--camera", "http://127.0.0.1:9/", "--every", "0"], ["--every 0: expected a number of"]),
        (["--camera", "http://127.0.0.1:9/", "--every", "nan"], ["--every nan: expected"]),
        (["--camera", "http://127.0.0.1:9/", "--when", "3"], ["--when 3: expected a class and"]),
        (["--camera", "http://127.0.0.1:9/", "--when", "x>0"], ["there is no class 'x'"]),
        (["--camera", "http://127.0.0.1:9/", "--run", "/no/program"], ["no program '/no/program'"]),
    ],
)
def test_what_cannot_be_done_is_refused(
    arguments: list[str], words: list[str], command: Command
) -> None:
    assert_refused(command("watch", *arguments), *words)


def test_a_camera_that_is_not_there_is_an_error(command: Command) -> None:
    run = command("watch", "--camera", "http://127.0.0.1:9/")
    assert (run.code, run.out) == (2, "")
    assert "vimnp: http://127.0.0.1:9/: " in run.err
