"""What the user says of a network that its weights do not tell, parsed from text."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any

from vimnp.convert.formats.naming import quoted
from vimnp.errors import ConfigError
from vimnp.images.preprocessing import Preprocessing
from vimnp.images.sizes import parse_img_size
from vimnp.weights.family import Configuration


def parse_settings(
    settings: Mapping[str, str], configuration: type[Configuration]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parse settings by the types of the fields that they name.

    Parameters
    ----------
    settings : mapping of str to str
        Fields of the network's configuration and of
        :class:`~vimnp.images.preprocessing.Preprocessing`, such as
        ``{"stride": "8", "img_size": "48x80", "if_divide_out": "false"}``. A picture's size, or a
        patch's, is its height x width, or one number for a square.
    configuration : type
        Of the network.

    Returns
    -------
    network, preprocessing : dict of str to object
        Values for the fields of the two classes.

    Raises
    ------
    ConfigError
        If a name is unknown or a value cannot be parsed.
    """
    network, preprocessing = _parsers(configuration), _parsers(Preprocessing)
    parsed: dict[str, Any] = {}
    for name, text in settings.items():
        parser = (network | preprocessing).get(name)
        if parser is None:
            known = ", ".join([*network, *preprocessing])
            raise ConfigError(f"unknown setting {quoted(name)}; expected one of {known}")
        try:
            parsed[name] = parser(text)
        except ValueError as error:
            raise ConfigError(f"the setting {name} is {quoted(text)}; expected {error}") from None
    return (
        {name: value for name, value in parsed.items() if name in network},
        {name: value for name, value in parsed.items() if name in preprocessing},
    )


def to_text(value: object) -> str:
    """A field's value as :func:`parse_settings` would take it."""
    if isinstance(value, bool):
        return str(value).lower()
    if value is None or value == ():
        return "none"
    if isinstance(value, tuple):
        return ("x" if isinstance(value[0], int) else ",").join(map(str, value))
    return str(value)


def _parsers(kind: type[Configuration] | type[Preprocessing]) -> dict[str, Callable[[str], object]]:
    return {field.name: _PARSERS[str(field.type)] for field in dataclasses.fields(kind)}


# Each parser raises a ValueError that says what it expected.


def _parse_whole(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text.strip()):
        raise ValueError("a whole number")
    return int(text)


def _parse_number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError("a number") from None


def _parse_flag(text: str) -> bool:
    flags = {"true": True, "1": True, "false": False, "0": False}
    if text.strip().lower() not in flags:
        raise ValueError("true or false")
    return flags[text.strip().lower()]


def _parse_channels(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ValueError("numbers with commas between them") from None


def _parse_patch(text: str) -> int | tuple[int, int]:
    height, width = parse_img_size(text)
    return height if height == width else (height, width)


def _parse_stages(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"[0-9]{1,9}(x[0-9]{1,9}){3}", text.strip()):
        raise ValueError("a whole number for each of the four stages, as in 2x2x9x2")
    return tuple(map(int, text.split("x")))


def _parse_number_or_none(text: str) -> float | None:
    return None if text.strip().lower() == "none" else _parse_number(text)


def _parse_ids(text: str) -> tuple[int, ...]:
    if text.strip().lower() == "none":
        return ()
    try:
        return tuple(_parse_whole(part) for part in text.split(","))
    except ValueError:
        raise ValueError("whole numbers with commas between them, or none") from None


_PARSERS: dict[str, Callable[[str], object]] = {
    "int": _parse_whole,
    "int | None": _parse_whole,
    "float": _parse_number,
    "float | None": _parse_number_or_none,
    "bool": _parse_flag,
    "str": str.strip,
    "tuple[int, int]": parse_img_size,
    "int | tuple[int, int]": _parse_patch,
    "PerStage": _parse_stages,
    "tuple[float, ...]": _parse_channels,
    "tuple[int, ...]": _parse_ids,
}
