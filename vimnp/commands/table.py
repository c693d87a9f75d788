"""Tables of text, which are Markdown as well."""

from __future__ import annotations

from collections.abc import Sequence


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; what begins with a digit or a sign stands on the right."""
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    lines = [columns, ["-" * width for width in widths], *rows]
    for line in lines:
        cells = (_aligned(cell, width) for cell, width in zip(line, widths, strict=True))
        print(f"| {' | '.join(cells)} |")


def _aligned(cell: str, width: int) -> str:
    return cell.rjust(width) if cell[:1].isdigit() else cell.ljust(width)
