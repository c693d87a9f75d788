"""``vimnp explain``: which patches of a picture speak for a class."""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np

from vimnp.commands.console import printable
from vimnp.commands.destination import check_destination, naming
from vimnp.commands.model_options import add_way, add_weights, load_model, say_if_bundled
from vimnp.commands.options import as_given, file_name
from vimnp.commands.table import print_table
from vimnp.errors import ConfigError
from vimnp.images.overlay import as_seen, overlay
from vimnp.models.classes import as_target
from vimnp.models.vim.model import VisionMamba
from vimnp.storage.files import whole_file

DESCRIPTION = (
    "Say which patches of a picture speak for a class. The score of a class is how far its logit "
    "stands above the mean of all logits. Prints what each patch contributes to that score, "
    "exactly, through the scans of all layers."
)
EXAMPLE = "vimnp explain cat.jpg --weights vim_tiny.npz --class tabby --out why.png"

_SHOWN = 5  # patches that are listed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", type=file_name, metavar="IMAGE", help="a picture")
    add_weights(parser)
    add_way(parser)
    parser.add_argument(
        "--class",
        dest="target",
        metavar="K",
        help="the class, by its index, its label or a name in its label (the likeliest)",
    )
    parser.add_argument(
        "--show",
        choices=("contributions", "attention", "delta"),
        default="contributions",
        help="what to show for each patch: its contribution to the class (contributions, the "
        "default); its share in what layers add to the token that the head reads (attention); or "
        "the mean step size of the scans (delta)",
    )
    parser.add_argument(
        "--out", type=file_name, metavar="FILE.png", help="draw it over the picture, as a PNG file"
    )
    parser.add_argument(
        "--json", action="store_true", help="print JSON, with the values of every layer"
    )


def run(options: argparse.Namespace) -> int:
    if options.target is not None and options.show != "contributions":
        raise ConfigError(
            f"{as_given('--class', options.target)} with --show {options.show}: that is the "
            "same for every class; expected one of the two options"
        )
    if options.out is not None:
        check_destination(options.out)
    model = load_model(options)
    if not isinstance(model, VisionMamba):
        raise ConfigError(
            f"these weights are a {type(model).__name__}'s; expected a Vision Mamba's, whose scans "
            "this command can look through"
        )
    facts, layers = _facts(model, options)
    say_if_bundled(options)
    if options.json:
        print(json.dumps({"file": options.image, **facts, "layers": layers.tolist()}, indent=1))
    else:
        _print(options, facts, layers.sum(axis=0))
    if options.out is not None:
        preprocessing = model.metadata.preprocessing
        assert preprocessing is not None  # the picture went through it
        picture = as_seen(model.preprocess(options.image), preprocessing)
        with naming(options.out), whole_file(options.out) as file:
            overlay(picture, layers.sum(axis=0)).save(file, "PNG")
    return 0


def _facts(model: VisionMamba, options: argparse.Namespace) -> tuple[dict[str, Any], np.ndarray]:
    """What is said of the picture, and of each layer's patches, (layers, h, w)."""
    if options.show == "attention":
        layers = model.hidden_attention(options.image)
        return {"shown": "attention"}, layers / len(layers)
    if options.show == "delta":
        layers = model.step_sizes(options.image)
        return {"shown": "delta"}, layers / len(layers)
    target = options.target
    if target is not None:
        target = as_target(target, model.labels)
    found = model.explain(options.image, target)
    facts = {"index": found.index, "label": found.label, "score": found.score, "rest": found.rest}
    return {"shown": "contributions", **facts}, found.contributions


def _print(options: argparse.Namespace, facts: dict[str, Any], patches: np.ndarray) -> None:
    print(printable(options.image))
    if facts["shown"] == "contributions":
        label = f"class {facts['index']}" if facts["label"] is None else facts["label"]
        print(
            f"  {printable(label)}: its logit stands {facts['score']:.3f} above the mean of all "
            f"logits; patches contribute {patches.sum():.3f}, all else {facts['rest']:.3f}"
        )
    height, width = patches.shape
    order = np.argsort(-patches, axis=None)[:_SHOWN]
    rows = [(f"{i // width + 1} of {height}", f"{i % width + 1} of {width}", i) for i in order]
    print_table(
        ("row", "column", facts["shown"]),
        [(row, column, f"{patches.flat[i]:.4f}") for row, column, i in rows],
    )
