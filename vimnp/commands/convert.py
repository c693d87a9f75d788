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
    "Turn a PyTorch checkpoint into a weights file. You do not need PyTorch; for a .safetensors "
    "file you need the package safetensors. For a language model give the folder, which also has "
    "its config.json and its tokenizer."
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
        help="how the weights are stored (float32); bfloat16 and int4 are for language models "
        "only; a picture network in int8 also multiplies whole numbers",
    )
    parser.add_argument(
        "--calibrate",
        type=file_name,
        metavar="DIR",
        help="for a picture network in int8: pictures to find its large channels with (noise)",
    )
    parser.add_argument(
        "--labels",
        type=file_name,
        metavar="FILE",
        help="class names: one in each line, or JSON (a list, or by index); or none (ImageNet's "
        "names, if there are 1,000 classes)",
    )
    parser.add_argument(
        "--model",
        choices=names_of_pictures(),
        metavar="NAME",
        help="take the options that the checkpoint does not tell from this published network, and "
        "refuse a checkpoint of another one: " + ", ".join(names_of_pictures()),
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="settings",
        help="set an option that the checkpoint does not tell, by the original's name: stride=8, "
        "img_size=48x80 (height x width), if_divide_out=false, ...; wins over --model; can be "
        "given several times",
    )
    parser.add_argument(
        "--tokenizer",
        type=file_name,
        metavar="FILE",
        help="for a language model: its tokenizer.json, if it is not beside the checkpoint, or the "
        "word bytes, if its ids are bytes",
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
