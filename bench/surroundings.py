"""Where a measurement refuses to run, and how it prints."""

from __future__ import annotations

import os
from collections.abc import Iterable


def refusal() -> str | None:
    """Why no figure would be fair here; None if all is well."""
    if "OPENBLAS_CORETYPE" in os.environ:
        return "OPENBLAS_CORETYPE fixes the kernels of NumPy's matrix products: unset it"
    return None


def print_table(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    """In Markdown, each row as soon as it is there."""
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)
    print()
