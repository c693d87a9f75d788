"""What commands take as numbers and names, and what they say of anything else."""

from __future__ import annotations

import argparse
import functools
import re

from vimnp.errors import excerpt


def add_count(
    parser: argparse.ArgumentParser, option: str, help: str, default: int | None = None
) -> None:
    """Add an option that takes a whole number from 1 up."""
    kind = functools.partial(_count, option)
    parser.add_argument(option, type=kind, default=default, metavar="N", help=help)


def parse_count(text: str) -> int:
    """A whole number from 1 up, of 18 digits at most. Raises ValueError for anything else."""
    if re.fullmatch("[0-9]{1,18}", text.strip()) is None or int(text) < 1:
        raise ValueError(f"{text!r} is no whole number from 1 up")
    return int(text)


def file_name(text: str) -> str:
    """The name of a file or folder, as a type for argparse.

    An empty one is a variable of the shell that was never set: it must not stand for the default.
    """
    if not text:
        raise argparse.ArgumentTypeError("expected the name of a file or folder; it is empty")
    return text


def as_given(option: str, text: str) -> str:
    """An option and its value, for a message."""
    return f"{option} {excerpt(text)}" if text else f"{option} ''"


def _count(option: str, text: str) -> int:
    try:
        return parse_count(text)
    except ValueError:
        # argparse would put "argument --batch:" before any other error.
        raise argparse.ArgumentError(
            None, f"{as_given(option, text)}: expected a whole number from 1 up"
        ) from None
