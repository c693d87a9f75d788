"""Times and threads as tables and plots write them."""

from __future__ import annotations


def milliseconds(seconds: float) -> str:
    """With a tenth of a millisecond below a hundred."""
    return f"{seconds * 1e3:.1f} ms" if seconds < 0.1 else f"{seconds * 1e3:,.0f} ms"


def threads(number: int) -> str:
    return "1 thread" if number == 1 else f"{number} threads"
