"""Where a measurement runs, where it refuses to, and how it gives its figures."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from vimnp.measure.machine import describe_machine


def refusal() -> str | None:
    """Why no figure would be fair here; None if all is well."""
    if "OPENBLAS_CORETYPE" in os.environ:
        return "OPENBLAS_CORETYPE fixes the kernels of NumPy's matrix products: unset it"
    return None


def begin() -> None:
    """Name the machine; end the program where no figure would be fair."""
    if reason := refusal():
        sys.exit(reason)
    print("\n".join(describe_machine().lines) + "\n", flush=True)


def rounds_asked_for(documentation: str | None, usual: int) -> int:
    """How many rounds of measurements the command line asks for; then :func:`begin`."""
    rounds: int = rounds_parser(documentation, usual).parse_args().rounds
    begin()
    return rounds


def rounds_parser(documentation: str | None, usual: int) -> argparse.ArgumentParser:
    """Of a script whose measurements have rounds."""
    parser = argparse.ArgumentParser(description=(documentation or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=usual, help=f"of measurements ({usual})")
    return parser


def header(packages: Sequence[str] = ("vimnp", "numpy")) -> dict[str, Any]:
    """What figures begin with: the day, the machine, and the versions of what is measured."""
    return {
        "date": datetime.date.today().isoformat(),
        "machine": describe_machine().lines,
        "versions": {name: version(name) for name in packages},
    }


def add_json_option(parser: argparse.ArgumentParser) -> None:
    """How ``bench/record.py`` asks a script for its figures."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="for the figures, as data")


def write_json(figures: dict[str, Any], file: Path | None) -> None:
    """Write them, if a file is asked for."""
    if file is not None:
        file.write_text(json.dumps(figures, indent=1, default=float) + "\n", encoding="utf-8")


def run(
    parser: argparse.ArgumentParser,
    measure: Callable[[argparse.Namespace], dict[str, Any]],
    markdown: Callable[[dict[str, Any]], str],
    packages: Sequence[str] = ("vimnp", "numpy"),
) -> dict[str, Any]:
    """A script that measures: print the machine and the tables, and write the figures.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        With the script's own options.
    measure : callable
        Takes the options; gives the figures.
    markdown : callable
        Makes tables of the figures, which the pages have, too.
    packages : sequence of str
        Whose versions are recorded.

    Returns
    -------
    dict
        The figures.
    """
    add_json_option(parser)
    options = parser.parse_args()
    begin()
    figures = header(packages) | measure(options)
    write_json(figures, options.json)
    print(markdown(figures), end="")
    return figures


def table(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """In Markdown, whole; ends with a new line."""
    return "".join(f"{line}\n" for line in table_lines(columns, rows))


def table_lines(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield "| " + " | ".join(columns) + " |"
    yield "|---" * len(columns) + "|"
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def print_table(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    """In Markdown, each row as soon as it is there."""
    for line in table_lines(columns, rows):
        print(line, flush=True)
    print()
