"""``vimnp convert``: from a PyTorch checkpoint to a weights file."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from vimnp.commands.console import FAILURE, printable, say
from vimnp.config import PUBLISHED
from vimnp.errors import VimnpError
from vimnp.weights import DTYPES

DESCRIPTION = (
    "Turn a PyTorch checkpoint into a weights file. Needs no PyTorch; for a .safetensors file it "
    "needs the package safetensors."
)
EXAMPLE = "vimnp convert vim_t_midclstok_76p1acc.pth vim_tiny.npz --labels names.txt"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="IN.pth", help="the checkpoint, or a .safetensors file")
    parser.add_argument("destination", metavar="OUT.npz", help="the weights file to write")
    parser.add_argument(
        "--dtype", choices=DTYPES, default="float32", help="of the stored weights (float32)"
    )
    parser.add_argument(
        "--labels", metavar="FILE", help="class names: one a line, or JSON (list, or by index)"
    )
    parser.add_argument(
        "--model",
        choices=PUBLISHED,
        help="the published network whose options those are that the checkpoint does not tell",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="settings",
        help="what the checkpoint does not tell, by the original's names: stride=8, "
        "img_size=48x80 (height x width), if_divide_out=false, ...; wins over --model; may be "
        "repeated",
    )
    parser.add_argument("--ema", action="store_true", help="take model_ema from a training dump")


def run(options: argparse.Namespace) -> int:
    try:
        from vimnp.convert import convert_checkpoint
    except ModuleNotFoundError as error:
        if error.name != "vimnp.convert":
            raise
        say(
            "the converter is not installed beside this copy of vimnp: "
            "run `pip install -e .` in the checkout"
        )
        return FAILURE
    conversion = convert_checkpoint(
        options.source,
        options.destination,
        dtype=options.dtype,
        labels=options.labels,
        settings=_settings(options.settings),
        use_ema=options.ema,
        model=options.model,
    )
    for assumption in conversion.assumptions:
        print(f"assumed {printable(assumption)}")
    print(
        f"{printable(options.destination)}: {conversion.parameters:,} parameters, {options.dtype}, "
        f"{conversion.size:,} bytes"
    )
    return 0


def _settings(pairs: Sequence[str]) -> dict[str, str]:
    settings: dict[str, str] = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not (key and separator and value):
            raise VimnpError(f"--set {pair}: expected KEY=VALUE, as in --set stride=8")
        if key in settings:
            raise VimnpError(f"--set {key} is given twice: expected once")
        settings[key] = value
    return settings
