"""What every measurement says of its surroundings, and what it refuses to run in."""

from __future__ import annotations

import os
from collections.abc import Iterable

from vimnp.machine import describe_machine


def refusal() -> str | None:
    """Why no figure would be fair here; None if all is well."""
    if "OPENBLAS_CORETYPE" in os.environ:
        return "OPENBLAS_CORETYPE fixes the kernels of NumPy's matrix products: unset it"
    return None


def header() -> list[str]:
    """CPU, instruction set, threads and BLAS, a line each; and what slows them down."""
    machine = describe_machine()
    return [
        f"machine: {machine.cpu}, {os.cpu_count()} CPUs",
        f"kernels: {machine.instruction_set}, {machine.num_threads} threads if not set otherwise",
        f"BLAS: {machine.blas}; numpy {machine.numpy}, python {machine.python}",
        *(f"slow: {sentence}" for sentence in machine.slowdowns),
    ]


def print_table(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    """In Markdown, each row as soon as it is there."""
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)
    print()
