"""How names from an untrusted file appear in messages: quoted, cut short, only a few."""

from __future__ import annotations

from collections.abc import Collection

_LENGTH = 80
_COUNT = 3


def quoted(name: object) -> str:
    """A name as its ``repr``, so that no control character reaches a terminal, and cut short.

    Of anything but text and small numbers only the type is told: it may be nested without end.
    """
    if isinstance(name, str):
        return repr(name if len(name) <= _LENGTH else f"{name[:_LENGTH]}...")
    if name is None or isinstance(name, int):
        return str(name) if name is None or abs(name) < 1 << 64 else "a huge number"
    return f"a value of type {type(name).__name__}"


def listing(names: Collection[object]) -> str:
    """The first three names and how many more there are."""
    first = [quoted(name) for name, _ in zip(names, range(_COUNT), strict=False)]
    rest = len(names) - len(first)
    return ", ".join(first) + (f" and {rest} more" if rest else "")
