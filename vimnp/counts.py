"""Counts that a user gives: whole numbers of any kind, NumPy's too."""

from __future__ import annotations

import operator
from typing import SupportsIndex, cast

from vimnp.errors import ConfigError


def checked_count(name: str, value: object, most: int | None = None, *, least: int = 1) -> int:
    """A whole number from 1 up, or from another one, as one of Python's.

    Parameters
    ----------
    name : str
        What it counts, for the message.
    value : object
    most, least : int, optional
        The largest and the smallest that are allowed.

    Raises
    ------
    ConfigError
        If it is none. Truth values are none, though Python takes them for 0 and 1.
    """
    try:
        number = -1 if isinstance(value, bool) else operator.index(cast("SupportsIndex", value))
    except TypeError:
        number = -1
    if number < least or (most is not None and number > most):
        allowed = f"from {least} up" if most is None else f"from {least} to {most}"
        raise ConfigError(f"{name} is {value!r}; expected a whole number {allowed}")
    return number
