"""Numbers with their units, as tables and plots write them."""

from __future__ import annotations


def milliseconds(seconds: float) -> str:
    """With a tenth of a millisecond below a hundred."""
    return f"{seconds * 1e3:.1f} ms" if seconds < 0.1 else f"{seconds * 1e3:,.0f} ms"


def threads(number: int) -> str:
    return "1 thread" if number == 1 else f"{number} threads"


def seconds(number: float) -> str:
    return f"{number:.2f} s"


def megabytes(number: float) -> str:
    """Of bytes."""
    return f"{number / 1e6:,.0f} MB"


def times(ratio: float) -> str:
    return f"{ratio:.2f}x"


def percent(share: float) -> str:
    return f"{share:.0%}"


def per_second(tokens: float) -> str:
    """With a tenth below ten."""
    return f"{tokens:.1f}" if tokens < 10 else f"{tokens:,.0f}"
