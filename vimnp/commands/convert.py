"""``vimnp convert``: from a PyTorch checkpoint to a weights file."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from vimnp.commands.console import FAILURE, printable, say
from vimnp.commands.model_options import names_of_pictures
from vimnp.commands.options import file_name
from vimnp.errors import VimnpError
from vimnp.hub.converter import MISSING, find_converter
from vimnp.weights.metadata import DTYPES

DESCRIPTION = (
    "Turn a PyTorch checkpoint into a weights file. Needs no PyTorch; for a .safetensors file it "
    "needs the package safetensors. Of a language model, give the folder: its config.json and its "
    "tokenizer are read, too."
)
EXAMPLE = "vimnp convert vim_t_midclstok_76p1acc.pth vim_tiny.npz"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        type=file_name,
        metavar="IN.pth",
        help="the checkpoint, a .safetensors file, or a folder with one",
    )
    parser.add_argument(
        "destination", type=file_name, metavar="OUT.npz", help="the weights file to write"
    )
    parser.add_argument(
        "--dtype",
        choices=DTYPES,
        default="float32",
        help="of the stored weights (float32); bfloat16 and int4 for language models alone; a "
        "network of pictures in int8 also multiplies whole numbers",
    )
    parser.add_argument(
        "--calibrate",
        type=file_name,
        metavar="DIR",
        help="of a network of pictures in int8: pictures to find its large channels with (noise)",
    )
    parser.add_argument(
        "--labels",
        type=file_name,
        metavar="FILE",
        help="class names: one a line, or JSON (list, or by index); or none (ImageNet's, where "
        "there are 1,000 classes)",
    )
    parser.add_argument(
        "--model",
        choices=names_of_pictures(),
        metavar="NAME",
        help="the published network whose options those are that the checkpoint does not tell; one "
        "that tells all is refused if it is another: " + ", ".join(names_of_pictures()),
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
    parser.add_argument(
        "--tokenizer",
        type=file_name,
        metavar="FILE",
        help="of a language model: its tokenizer.json, where it is not beside the checkpoint, or "
        "bytes, for ids that are bytes",
    )
    parser.add_argument("--ema", action="store_true", help="take model_ema from a training dump")


def run(options: argparse.Namespace) -> int:
    if not find_converter():
        say(MISSING)
        return FAILURE
    from vimnp.convert import convert_checkpoint

    conversion = convert_checkpoint(
        options.source,
        options.destination,
        dtype=options.dtype,
        labels=options.labels,
        settings=_settings(options.settings),
        use_ema=options.ema,
        model=options.model,
        tokenizer=options.tokenizer,
        calibrate=options.calibrate,
    )
    for skipped in conversion.skipped:
        say(f"not calibrated with {skipped}")
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
