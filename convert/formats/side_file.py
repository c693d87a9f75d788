"""Files that lie beside the weights: read whole, within bounds, and checked to be JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vimnp.errors import CheckpointError, excerpt
from vimnp.storage.files import open_regular
from vimnp.storage.json_text import parse_json


def read_side_file(path: Path, limit: int) -> bytes | None:
    """The content of a file; None if there is none of this name.

    Raises
    ------
    CheckpointError
        If it cannot be read, is no regular file, or has more bytes than the limit.
    """
    try:
        with open(open_regular(path), "rb") as file:
            data = file.read(limit + 1)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(f"{path}: cannot be read: {reason}") from None
    if len(data) > limit:
        raise CheckpointError(f"{path}: has more than {limit} bytes; expected fewer")
    return data


def parse_side_file(path: Path, data: bytes) -> dict[str, Any]:
    """The JSON object that a file holds.

    Raises
    ------
    CheckpointError
        If it holds something else.
    """
    try:
        values = parse_json(data)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not JSON ({excerpt(error)})") from None
    if not isinstance(values, dict):
        raise CheckpointError(f"{path}: holds no JSON object; expected one, from names to values")
    return values
