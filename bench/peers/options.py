"""What the commands of all comparisons have in common: options, and what becomes of a record."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

from surroundings import add_json_option, write_json

from peers.record import Results


def parser(
    prog: str, documentation: str | None, networks: Collection[str], rounds: int
) -> argparse.ArgumentParser:
    """Options of any comparison.

    Parameters
    ----------
    prog : str
        How it is started.
    documentation : str or None
        Its first line is printed with the options.
    networks : collection of str
        Names of all of them.
    rounds : int
        Turns of each, if not asked for otherwise.
    """
    summary = (documentation or "").splitlines()[0]
    made = argparse.ArgumentParser(prog=prog, description=summary)
    made.add_argument("--rounds", type=positive, default=rounds, help="turns of each network")
    made.add_argument("--threads", type=numbers, default=(1, 2))
    of_networks = partial(_names, networks=networks)
    made.add_argument(
        "--peers", type=of_networks, default=tuple(networks), help=", ".join(networks)
    )
    add_json_option(made)
    made.add_argument("--out", type=Path, help="folder for figures, table and plots")
    made.add_argument(
        "--redraw", action="store_true", help="measure nothing, read the results.json of --out"
    )
    return made


def publish(
    options: argparse.Namespace,
    measure: Callable[[], Results],
    markdown: Callable[[Results], str],
    draw: Callable[[Results, Path], object],
) -> int:
    """Print what is measured, or what was, and write what is asked for; the exit status."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
    folder: Path | None = options.out
    record = folder / "results.json" if folder else None
    if options.redraw and not (record and record.exists()):
        print(f"there is no {record or 'results.json: --out names its folder'}", file=sys.stderr)
        return 2
    results = json.loads(record.read_text()) if options.redraw and record else measure()
    table = markdown(results)
    write_json(results, options.json)
    if folder and record:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(results, record)
        (folder / "table.md").write_text(table)
        draw(results, folder)
    print(table, end="")
    return 0


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}; expected a whole number from 1 up")
    return number


def numbers(text: str) -> tuple[int, ...]:
    """Each once, in order."""
    return tuple(sorted({positive(part) for part in text.split(",")}))


def _names(text: str, networks: Collection[str]) -> tuple[str, ...]:
    """Those that are asked for, in the order in which they are listed."""
    names = text.split(",")
    for name in names:
        if name not in networks:
            raise argparse.ArgumentTypeError(f"{name!r}; expected of {', '.join(networks)}")
    return tuple(name for name in networks if name in names)
