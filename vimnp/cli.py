"""The ``vimnp`` command: predict, info, convert."""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import vimnp
from vimnp.backends import BACKENDS
from vimnp.config import PUBLISHED, parse_img_size
from vimnp.errors import ImageError, VimnpError
from vimnp.image import read_image
from vimnp.model import Prediction, VisionMamba
from vimnp.reference import BIDIRECTIONAL_METHODS
from vimnp.weights import BUNDLED_DIGITS, DTYPES, Metadata, WeightsFile

FAILURE = 2  # exit code of every error, argparse's own included


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code, 2 after an error, which is one line on stderr."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # names that the terminal has no characters for
        sys.stdout.reconfigure(errors="backslashreplace")
    options = _parser().parse_args(arguments)
    try:
        code = int(options.run(options))
        sys.stdout.flush()  # a full disk is noticed here, and not after the end
        return code
    except BrokenPipeError:  # the reader, `head` for one, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (VimnpError, OSError) as error:
        _say(error)
    except MemoryError as error:
        _say(f"not enough memory: {error}")
    return FAILURE


class _Parser(argparse.ArgumentParser):
    """Errors in one line; the usage is a ``--help`` away."""

    def error(self, message: str) -> NoReturn:
        self.exit(FAILURE, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="vimnp",
        description="Vision Mamba on a CPU, without PyTorch.",
        epilog="example: vimnp predict cat.jpg --weights vim_tiny.npz",
    )
    parser.add_argument("--version", action="version", version=f"vimnp {vimnp.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_predict(commands)
    _add_info(commands)
    _add_convert(commands)
    return parser


def _say(message: object) -> None:
    """One line on stderr."""
    print(f"vimnp: {' '.join(str(message).split())}", file=sys.stderr)


# ---- predict -------------------------------------------------------------------------------------


def _add_predict(commands: argparse._SubParsersAction[_Parser]) -> None:
    parser = commands.add_parser(
        "predict",
        help="say what is in a picture",
        description="Say what is in each picture: the likeliest classes, best first.",
        epilog="example: vimnp predict cat.jpg dog.png --weights vim_tiny.npz --top-k 3",
    )
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="a file that pillow reads")
    parser.add_argument(
        "--weights",
        metavar="W.npz",
        help="from `vimnp convert`; without it, the bundled model of handwritten digits",
    )
    parser.add_argument(
        "--img-size",
        metavar="HxW",
        help="look at pictures in this size, in pixels, or N for NxN (as the network was trained)",
    )
    parser.add_argument("--top-k", type=int, default=5, metavar="N", help="classes shown (5)")
    parser.add_argument(
        "--scan", choices=BIDIRECTIONAL_METHODS, default="fused", help="how to scan (fused)"
    )
    parser.add_argument(
        "--backend",
        choices=BACKENDS,
        help="what multiplies the matrices: NumPy, or the kernels themselves, which is faster and "
        "scans fused only (VIMNP_BACKEND, or numpy)",
    )
    parser.add_argument(
        "--threads",
        type=int,
        metavar="N",
        help="threads of the kernels (VIMNP_NUM_THREADS, or all CPUs that this process may use)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_predict)


def _predict(options: argparse.Namespace) -> int:
    weights = options.weights or BUNDLED_DIGITS
    model = VisionMamba.from_npz(
        weights,
        img_size=_img_size(options.img_size),
        scan=options.scan,
        num_threads=options.threads,
        backend=options.backend,
    )
    answers = []
    for path in options.images:
        try:
            best = model.predict(read_image(path), top_k=options.top_k)
        except ImageError as error:  # the other pictures still get their answer
            _say(error)
            answers.append({"file": path, "error": str(error)})
            continue
        answers.append({"file": path, "predictions": [dataclasses.asdict(p) for p in best]})
        if not options.json:
            _print_predictions(path, best)
    if options.json:
        print(json.dumps(answers, indent=1))
    if options.weights is None and any("predictions" in answer for answer in answers):
        _say("no --weights given: using the bundled model of handwritten digits, 0 to 9")
    return FAILURE if any("error" in answer for answer in answers) else 0


def _img_size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    try:
        return parse_img_size(text)
    except ValueError as error:
        raise VimnpError(f"--img-size {text}: expected {error}") from None


def _print_predictions(path: str, best: list[Prediction]) -> None:
    print(path)
    for prediction in best:
        label = f"class {prediction.index}" if prediction.label is None else prediction.label
        print(f"  {prediction.score:7.2%}  {label}")


# ---- info ----------------------------------------------------------------------------------------


def _add_info(commands: argparse._SubParsersAction[_Parser]) -> None:
    parser = commands.add_parser(
        "info",
        help="describe a weights file and this machine",
        description="Describe a weights file, and what a forward pass runs on here.",
        epilog="example: vimnp info vim_tiny.npz",
    )
    parser.add_argument(
        "weights", nargs="?", metavar="W.npz", help="the bundled model of digits by default"
    )
    parser.set_defaults(run=_info)


def _info(options: argparse.Namespace) -> int:
    from vimnp.machine import describe_machine

    machine = describe_machine()  # first: a wrong setting is then all that is said
    with WeightsFile(options.weights or BUNDLED_DIGITS) as file:
        _print_weights(file)
    print("machine")
    for name, value in machine._asdict().items():
        if name != "slowdowns":
            _print_fact(name, value)
    for sentence in machine.slowdowns:
        print(f"  slow: {sentence}")
    return 0


def _print_weights(file: WeightsFile) -> None:
    metadata: Metadata = file.metadata
    print(file.path)
    _print_fact("parameters", f"{metadata.config.num_parameters:,}")
    _print_fact("dtype", metadata.dtype)
    _print_fact("size", f"{file.path.stat().st_size:,} bytes")
    _print_fact("source", metadata.source or "unknown")
    _print_fact("source_sha256", metadata.source_sha256 or "unknown")
    _print_fact("labels", "none" if metadata.labels is None else len(metadata.labels))
    print("configuration")
    for name, value in metadata.config.to_dict().items():
        _print_fact(name, value)
    print("preprocessing")
    for name, value in dataclasses.asdict(metadata.preprocessing).items():
        _print_fact(name, value)


def _print_fact(name: str, value: object) -> None:
    text = "x".join(map(str, value)) if name == "img_size" and isinstance(value, list) else value
    print(f"  {name:<20} {text}")


# ---- convert -------------------------------------------------------------------------------------


def _add_convert(commands: argparse._SubParsersAction[_Parser]) -> None:
    parser = commands.add_parser(
        "convert",
        help="turn a PyTorch checkpoint into a weights file",
        description="Turn a PyTorch checkpoint into a weights file. Needs no PyTorch; for a "
        ".safetensors file it needs the package safetensors.",
        epilog="example: vimnp convert vim_t_midclstok_76p1acc.pth vim_tiny.npz --labels names.txt",
    )
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
    parser.set_defaults(run=_convert)


def _convert(options: argparse.Namespace) -> int:
    try:
        from vimnp.convert import convert_checkpoint
    except ModuleNotFoundError as error:
        if error.name != "vimnp.convert":
            raise
        _say(
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
        print(f"assumed {assumption}")
    print(
        f"{options.destination}: {conversion.parameters:,} parameters, {options.dtype}, "
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
