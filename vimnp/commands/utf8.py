"""Texts that a command is given, in UTF-8."""

from __future__ import annotations

from vimnp.errors import TextError


def read_text(path: str) -> str:
    """The text of a file; see :func:`as_text`."""
    with open(path, "rb") as file:
        return as_text(path, file.read())


def as_text(name: str, content: bytes) -> str:
    """Text of UTF-8, without the line break that ends a file."""
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise TextError(
            f"{name}: byte {error.start} (0x{content[error.start]:02x}) is no UTF-8; expected text "
            "in UTF-8"
        ) from None
    return text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text
