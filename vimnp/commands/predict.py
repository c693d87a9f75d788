"""``vimnp predict``: what is in a picture."""

from __future__ import annotations

import argparse
import dataclasses
import json

from vimnp.commands.console import FAILURE, printable, say
from vimnp.commands.model_options import (
    add_way,
    add_weights,
    load_model,
    precision_of,
    say_if_bundled,
)
from vimnp.commands.options import add_count, file_name
from vimnp.errors import ImageError
from vimnp.images import preprocessing as image
from vimnp.models.vision import Prediction

DESCRIPTION = "Say what is in each picture: the likeliest classes, best first."
EXAMPLE = "vimnp predict cat.jpg dog.png --weights vim_tiny.npz --top-k 3"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    images = parser.add_argument(
        "images", nargs="+", type=file_name, metavar="IMAGE", help="a file: %(formats)s"
    )
    vars(images)["formats"] = _Formats()
    add_weights(parser)
    add_way(parser)
    add_count(parser, "--top-k", "classes shown (5)", default=5)
    parser.add_argument(
        "--json", action="store_true", help="print JSON, which says how the network ran, too"
    )


class _Formats:
    """The names of the formats, for which pillow's plugins load: when the help is printed."""

    def __str__(self) -> str:
        return ", ".join(image.FORMATS)


def run(options: argparse.Namespace) -> int:
    model = load_model(options)
    answers = []
    for path in options.images:
        try:
            best = model.predict(path, top_k=options.top_k)
        except ImageError as error:  # the other pictures still get their answer
            say(error)
            answers.append({"file": path, "error": str(error)})
            continue
        if all("error" in answer for answer in answers):
            say_if_bundled(options)  # before the first answer, which would else mislead
        predictions = [dataclasses.asdict(p) for p in best]
        way = model.way._asdict() | precision_of(model)
        answers.append({"file": path, "predictions": predictions, **way})
        if not options.json:
            _print_predictions(path, best)
    if options.json:
        print(json.dumps(answers, indent=1))
    return FAILURE if any("error" in answer for answer in answers) else 0


def _print_predictions(path: str, best: list[Prediction]) -> None:
    print(printable(path))
    for prediction in best:
        label = f"class {prediction.index}" if prediction.label is None else prediction.label
        print(f"  {prediction.score:7.2%}  {printable(label)}")
