"""``vimnp predict``: what is in a picture, or in many."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from typing import Any

from vimnp.commands.console import FAILURE, printable, say
from vimnp.commands.job_options import PICTURES, add_output, add_pictures
from vimnp.commands.model_options import (
    add_way,
    add_weights,
    load_model,
    precision_of,
    say_if_bundled,
)
from vimnp.commands.options import add_count
from vimnp.errors import ImageError, VimnpError
from vimnp.jobs.addresses import is_address, read_picture
from vimnp.jobs.pictures import named_pictures
from vimnp.models.vision import Prediction

DESCRIPTION = f"Say what is in each picture: the likeliest classes, best first. {PICTURES}"
EXAMPLE = "vimnp predict cat.jpg pictures --weights vim_tiny.npz --output classes.csv"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_pictures(parser)
    add_weights(parser)
    add_way(parser)
    add_count(parser, "--top-k", "classes shown (5)", default=5)
    parser.add_argument(
        "--json", action="store_true", help="print JSON, which says how the network ran, too"
    )
    add_output(
        parser,
        "print nothing, but write a table with a row for each picture: .jsonl, .csv, or .parquet, "
        "which takes pyarrow",
    )


def run(options: argparse.Namespace) -> int:
    if options.output is not None:
        from vimnp.commands.predict_table import run_to_table

        return run_to_table(options)
    for option in ("resume", "batch", "shard", "scheduler", "workers"):
        if getattr(options, option):
            raise VimnpError(f"--{option} is for a table; expected --output FILE beside it")
    model = load_model(options)
    answers: list[dict[str, Any]] = []
    for path in list(named_pictures(options.images, sys.stdin)):
        try:
            picture = read_picture(path) if is_address(path) else path
            best = model.predict(picture, top_k=options.top_k)
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
