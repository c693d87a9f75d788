"""Texts that a command is given, in UTF-8."""

from __future__ import annotations

from vimnp.errors import TextError
from vimnp.storage.files import noticing_folders


def read_text(path: str) -> str:
    """The text of a file; see :func:`as_text`."""
    with noticing_folders(path), open(path, "rb") as file:
        return as_text(path, file.read())


def as_text(name: str, content: bytes) -> str:
    """The text that is in UTF-8; TextError, with the name of where it is from, if it is not."""
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise TextError(
            f"{name}: byte {error.start} (0x{content[error.start]:02x}) is no UTF-8; expected text "
            "in UTF-8"
        ) from None
