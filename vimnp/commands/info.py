"""``vimnp info``: a weights file and this machine."""

from __future__ import annotations

import argparse
import dataclasses

from vimnp.commands.console import printable
from vimnp.commands.options import file_name
from vimnp.measure.machine import describe_machine
from vimnp.weights.file import BUNDLED_DIGITS, WeightsFile
from vimnp.weights.metadata import Metadata, OfText

DESCRIPTION = "Describe a weights file and this machine, and say what slows a pass down here."
EXAMPLE = "vimnp info vim_tiny.npz"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "weights",
        nargs="?",
        type=file_name,
        metavar="W.npz",
        help="the bundled model of digits by default",
    )


def run(options: argparse.Namespace) -> int:
    machine = describe_machine()  # first: a wrong setting is then all that is said
    with WeightsFile(options.weights or BUNDLED_DIGITS) as file:
        _print_weights(file)
    print("machine")
    for name, value in machine._asdict().items():
        if name != "slowdowns":
            _print_fact(name, value)
    for sentence in machine.slowdowns:
        print(f"  slow: {printable(sentence)}")
    return 0


def _print_weights(file: WeightsFile) -> None:
    metadata = file.metadata
    print(printable(file.path))
    _print_fact("family", metadata.config.family.name)
    _print_fact("parameters", f"{metadata.config.num_parameters:,}")
    _print_fact("dtype", metadata.dtype)
    if metadata.quantization is not None:
        _print_fact("quantization", metadata.quantization)
    _print_fact("size", f"{file.path.stat().st_size:,} bytes")
    _print_fact("source", metadata.source or "unknown")
    _print_fact("source_sha256", metadata.source_sha256 or "unknown")
    if isinstance(metadata.config, OfText):
        _print_facts_of_text(metadata)
    else:
        _print_fact("labels", "none" if metadata.labels is None else len(metadata.labels))
    print("configuration")
    for name, value in metadata.config.to_dict().items():
        _print_fact(name, value)
    if metadata.preprocessing is not None:
        print("preprocessing")
        for name, value in dataclasses.asdict(metadata.preprocessing).items():
            _print_fact(name, value)


def _print_facts_of_text(metadata: Metadata) -> None:
    from vimnp.engine.state import State, StateSizes  # networks of pictures have none

    state = State.layout(StateSizes.of(metadata.config))
    _print_fact("tokenizer", metadata.tokenizer or "none")
    _print_fact("chat_template", "none" if metadata.chat_template is None else "there is one")
    _print_fact("state", f"{4 * state.floats:,} bytes of each sequence")


def _print_fact(name: str, value: object) -> None:
    sides = ("img_size", "patch_size")
    text = "x".join(map(str, value)) if name in sides and isinstance(value, list) else value
    print(f"  {name:<20} {printable(text)}")
