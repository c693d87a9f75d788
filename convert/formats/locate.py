"""Where the weights are in what a user gives: a file, an index of several, or a whole folder."""

from __future__ import annotations

import re
from pathlib import Path

from vimnp.errors import CheckpointError

INDEX = ".index.json"
"""What the name of an index ends in."""

IN_FOLDER = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""What is looked for in a folder: of the same weights, the first one is taken."""

_SHARD = re.compile(r"(?P<name>.+)-\d{5}-of-(?P<number>\d{5})(?P<suffix>\.[a-z]+)", re.ASCII)


def find_weights(path: Path) -> Path:
    """The file of weights, or the index of several, that a path stands for.

    Raises
    ------
    CheckpointError
        If it is a folder without, or one file of several.
    """
    if path.is_dir():
        return _find_in(path)
    shard = _SHARD.fullmatch(path.name)
    if shard and int(shard["number"]) > 1:
        index = f"{shard['name']}{shard['suffix']}{INDEX}"
        raise CheckpointError(
            f"{path}: one of {int(shard['number'])} files with parts of the same weights; expected "
            f"their folder, or its {index!r}"
        )
    return path


def _find_in(folder: Path) -> Path:
    for name in IN_FOLDER:
        if (folder / name).exists():
            return folder / name
    raise CheckpointError(f"{folder}: a folder without weights; expected {' or '.join(IN_FOLDER)}")
