"""Vim-tiny beside DeiT-tiny and a CNN, in PyTorch and ONNX Runtime: table, record and plots.

    python bench/peers [--rounds 20] [--sides 224,448,672] [--threads 1,2] [--peers NAME,...]

Writes table.md, results.json and the plots, and prints the table. ``--redraw`` makes table and
plots anew of the results.json that is there.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from surroundings import refusal

from peers.networks import NETWORKS
from peers.requirements import missing

RESULTS = Path(__file__).with_name("results")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status, 2 if it refuses."""
    options = _parser().parse_args(arguments)
    reason = refusal() or missing()
    if reason:
        print(reason, file=sys.stderr)
        return 2
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
    from peers.plots import draw
    from peers.report import markdown

    folder: Path = options.out
    folder.mkdir(parents=True, exist_ok=True)
    record = folder / "results.json"
    if options.redraw and not record.exists():
        print(f"there is no {record} to draw anew", file=sys.stderr)
        return 2
    if not options.redraw:
        from peers.comparison import compare

        results = compare(options.peers, options.sides, options.threads, options.rounds)
        record.write_text(json.dumps(results, indent=1) + "\n")
    results = json.loads(record.read_text())
    table = markdown(results)
    (folder / "table.md").write_text(table)
    draw(results, folder)
    print(table, end="")
    return 0


def _parser() -> argparse.ArgumentParser:
    summary = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python bench/peers", description=summary)
    parser.add_argument("--rounds", type=_positive, default=20, help="turns of each network")
    parser.add_argument("--sides", type=_numbers, default=(224, 448, 672), help="pixels")
    parser.add_argument("--threads", type=_numbers, default=(1, 2))
    parser.add_argument("--peers", type=_names, default=tuple(NETWORKS), help=", ".join(NETWORKS))
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder to write to")
    parser.add_argument("--redraw", action="store_true", help="measure nothing, read results.json")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}; expected a whole number from 1 up")
    return number


def _numbers(text: str) -> tuple[int, ...]:
    """Each once, in order."""
    return tuple(sorted({_positive(part) for part in text.split(",")}))


def _names(text: str) -> tuple[str, ...]:
    """Networks, in the order of ``NETWORKS``."""
    names = text.split(",")
    for name in names:
        if name not in NETWORKS:
            raise argparse.ArgumentTypeError(f"{name!r}; expected of {', '.join(NETWORKS)}")
    return tuple(name for name in NETWORKS if name in names)
