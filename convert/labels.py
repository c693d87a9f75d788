"""Files with a name for each class: lines of text, or JSON as ImageNet's labels come."""

from __future__ import annotations

import os
from pathlib import Path

from vimnp.errors import CheckpointError
from vimnp.storage.files import open_regular
from vimnp.storage.json_text import parse_json

IMAGENET_CLASSES = 1000

IMAGENET_NAMES = Path(__file__).with_name("imagenet_names.txt")
"""The names of ImageNet's classes, as WordNet has them; the file beside it says more."""


def read_labels(path: str | os.PathLike[str], num_classes: int) -> tuple[str, ...]:
    """Read the names of all classes.

    Parameters
    ----------
    path : path-like
        UTF-8 text with one label a line, of which only the last may be followed by empty ones; or
        JSON: a list of labels, or an object from index to label. In JSON a label may also be a list
        that ends in it, as in ``{"0": ["n01440764", "tench"]}``.
    num_classes : int
        How many labels there must be.

    Returns
    -------
    tuple of str

    Raises
    ------
    CheckpointError
        If the file cannot be read, or does not hold one label for each class.
    """
    try:
        with open(open_regular(path), encoding="utf-8-sig") as file:
            text = file.read()
    except (OSError, ValueError) as error:  # ValueError: not UTF-8
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(f"{path}: the labels cannot be read: {reason}") from None
    if text.lstrip()[:1] not in ("[", "{"):
        labels = _from_lines(text)
        if "" in labels:
            raise CheckpointError(
                f"{path}: line {labels.index('') + 1} is empty; expected a label on every line"
            )
        return _one_each(path, labels, num_classes)
    try:
        labels = _from_json(text)
    except ValueError as error:
        raise CheckpointError(
            f"{path}: not labels as JSON ({error}); expected a list, or an object from 0, 1, ... "
            "to labels"
        ) from None
    return _one_each(path, labels, num_classes)


def _one_each(path: str | os.PathLike[str], labels: list[str], num_classes: int) -> tuple[str, ...]:
    if len(labels) != num_classes:
        raise CheckpointError(
            f"{path}: holds {len(labels)} labels, but the network has {num_classes} classes; "
            "expected one each"
        )
    return tuple(labels)


def _from_lines(text: str) -> list[str]:
    return [line.strip() for line in text.rstrip().split("\n")]


def _from_json(text: str) -> list[str]:
    values = parse_json(text)
    if isinstance(values, dict):
        missing = next((i for i in range(len(values)) if str(i) not in values), None)
        if missing is not None:
            raise ValueError(f"no label for class {missing}")
        values = [values[str(index)] for index in range(len(values))]
    return [_label(index, value) for index, value in enumerate(values)]


def _label(index: int, value: object) -> str:
    if isinstance(value, list) and value:
        value = value[-1]
    if not isinstance(value, str):
        raise ValueError(f"the label of class {index} is no text")
    return value
