"""``vimnp watch``: what a camera sees."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime
import json
from typing import Any

from vimnp.commands.console import printable, say
from vimnp.commands.model_options import (
    add_way,
    add_weights,
    load_model,
    precision_of,
    say_if_bundled,
)
from vimnp.commands.options import add_count, as_given, file_name
from vimnp.errors import ConfigError, ImageError
from vimnp.evaluate.accuracy import expect_logits
from vimnp.models.vision import Prediction, VisionModel
from vimnp.watch.action import Action
from vimnp.watch.conditions import Beginnings, parse_condition
from vimnp.watch.frames import Camera, Frame
from vimnp.watch.newest import frames_of
from vimnp.watch.sources import find_camera

DESCRIPTION = (
    "Say what a camera sees, or a video shows. Prints a line each time that the likeliest class "
    "changes, until you stop it with Ctrl-C. From a camera it takes the newest picture. If the "
    "camera breaks off, it opens it again until it is back."
)
EXAMPLE = "vimnp watch --camera pi --weights vim_tiny.npz --when 'tabby>0.6' --run ./open_flap"

_LEAST, _MOST = 0.01, 86_400.0  # seconds: a day


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--camera",
        type=file_name,
        required=True,
        metavar="CAMERA",
        help="0 for the first camera (V4L2), 1 for the next; pi for the Raspberry Pi's own; an "
        "address: http(s) for MJPEG or single pictures, rtsp(s); or a video file. pi needs "
        "picamera2; MJPEG and single pictures need nothing; the others need ffmpeg or OpenCV",
    )
    add_weights(parser)
    add_way(parser)
    parser.add_argument(
        "--every",
        metavar="SECONDS",
        default="0.5",
        help="the time from one picture to the next (0.5)",
    )
    parser.add_argument(
        "--when",
        action="append",
        metavar="LABEL>SCORE",
        help="print a line only when this condition becomes true, as in 'tabby>0.6' or "
        "'tabby<0.1'; can be given several times",
    )
    parser.add_argument(
        "--run",
        dest="program",
        metavar="CMD",
        help="run a program each time that the class changes, or with --when a condition becomes "
        "true, and go on. No shell sees CMD or the label: the program finds VIMNP_LABEL, "
        "VIMNP_INDEX, VIMNP_SCORE, VIMNP_WHEN, VIMNP_TIME and VIMNP_CAMERA in its environment. Its "
        "standard input is the picture; what it prints goes to stderr",
    )
    parser.add_argument(
        "--all", action="store_true", help="print a line for every picture that it looks at"
    )
    parser.add_argument("--json", action="store_true", help="each line is a JSON object")
    add_count(parser, "--top-k", "classes in JSON (5)", default=5)
    add_count(parser, "--looks", "end after so many pictures")


def run(options: argparse.Namespace) -> int:
    every = _seconds(options.every)
    camera = find_camera(options.camera, every)
    action = None
    if options.program is not None:
        action = Action(options.program, waits=not camera.live, tell=say)
    model = load_model(options)
    expect_logits(model)
    watcher = _Watcher(model, camera, options, action)
    say_if_bundled(options)
    looks = 0
    with contextlib.closing(frames_of(camera, every, say)) as frames:
        for frame in frames:
            watcher.look(frame)
            looks += 1
            if looks == options.looks:
                break
    if action is not None:
        action.finish()
    return 0


class _Watcher:
    """Looks at pictures, and prints what is new."""

    def __init__(
        self,
        model: VisionModel,
        camera: Camera,
        options: argparse.Namespace,
        action: Action | None,
    ) -> None:
        classes = model.config.num_classes
        when = [parse_condition(text, model.labels, classes) for text in options.when or ()]
        self._beginnings = Beginnings(when) if when else None
        self._top_k = classes if when else options.top_k
        self._model, self._camera, self._options, self._action = model, camera, options, action
        self._last: int | None = None
        self._is_unreadable = False

    def look(self, frame: Frame) -> None:
        try:
            best: Any = self._model.predict(frame.picture(), self._top_k)
        except ImageError as error:  # a camera may send half a picture, and whole ones after it
            if not self._is_unreadable:
                say(f"{self._camera.name}: {str(error).removeprefix('<BytesIO>: ')}")
            self._is_unreadable = True
            return
        self._is_unreadable = False
        news = self._news(best)
        for prediction, when in news:
            self._tell(frame, best, prediction, when, is_new=True)
        if self._options.all and not news:
            self._tell(frame, best, best[0], None, is_new=False)

    def _news(self, best: list[Prediction]) -> list[tuple[Prediction, str | None]]:
        """What is to be told of a picture: a class, and the condition that holds for it."""
        if self._beginnings is None:
            changed = best[0].index != self._last
            self._last = best[0].index
            return [(best[0], None)] if changed else []
        of_class = {prediction.index: prediction for prediction in best}
        scores = {index: prediction.score for index, prediction in of_class.items()}
        return [(of_class[begun.index], begun.text) for begun in self._beginnings.of(scores)]

    def _tell(
        self,
        frame: Frame,
        best: list[Prediction],
        told: Prediction,
        when: str | None,
        *,
        is_new: bool,
    ) -> None:
        now = datetime.datetime.now().astimezone()
        if self._options.json:
            facts: dict[str, Any] = {
                "camera": self._camera.name,
                "time": now.isoformat(timespec="milliseconds"),
                "seconds": frame.seconds,
                "new": is_new,
                "when": when,
                **dataclasses.asdict(told),
                "predictions": [dataclasses.asdict(each) for each in best[: self._options.top_k]],
                **self._model.way._asdict(),
                **precision_of(self._model),
            }
            print(json.dumps(facts), flush=True)
        else:
            label = f"class {told.index}" if told.label is None else told.label
            holds = f"  ({printable(when)})" if when else ""
            time = _time_of(frame, now)
            print(f"{time}  {told.score:7.2%}  {printable(label)}{holds}", flush=True)
        if self._action is not None and is_new:
            self._action.run(
                {
                    "VIMNP_LABEL": printable(told.label or ""),
                    "VIMNP_INDEX": str(told.index),
                    "VIMNP_SCORE": f"{told.score:.4f}",
                    "VIMNP_WHEN": printable(when or ""),
                    "VIMNP_TIME": _time_of(frame, now),
                    "VIMNP_CAMERA": printable(self._camera.name),
                },
                frame.file(),
            )


def _time_of(frame: Frame, now: datetime.datetime) -> str:
    """The time of day, or that in a recording."""
    if frame.seconds is None:
        return now.strftime("%H:%M:%S")
    minutes, seconds = divmod(frame.seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02}:{seconds:05.2f}"


def _seconds(text: str) -> float:
    """The value of ``--every``."""
    with contextlib.suppress(ValueError):
        if _LEAST <= float(text) <= _MOST:
            return float(text)
    expected = f"a number of seconds, {_LEAST} to {_MOST:,.0f}"
    raise ConfigError(f"{as_given('--every', text)}: expected {expected}")
