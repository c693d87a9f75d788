"""Where a measurement refuses to run, and how it prints."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable

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
    parser = argparse.ArgumentParser(description=(documentation or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=usual, help=f"of measurements ({usual})")
    rounds: int = parser.parse_args().rounds
    begin()
    return rounds


def print_table(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    """In Markdown, each row as soon as it is there."""
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)
    print()
