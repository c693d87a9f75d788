"""What a network sees in many pictures, some at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from vimnp.errors import ImageError
from vimnp.images.image_file import read_image
from vimnp.jobs.rows import Row
from vimnp.models.vision import Prediction, VisionModel


def predict_rows(
    model: VisionModel, files: Sequence[str], *, top_k: int = 5, batch: int = 8
) -> Iterator[list[Row]]:
    """Rows of pictures, a batch at a time; a picture that cannot be read has its error.

    Parameters
    ----------
    model : VisionMamba or VMamba
    files : sequence of str
    top_k : int
        Classes of each picture.
    batch : int
        How many pictures are given to the network at once, and are in memory together.

    Raises
    ------
    ConfigError
        If the network gives no logits for a whole picture.
    """
    for begin in range(0, len(files), batch):
        part = files[begin : begin + batch]
        inputs: dict[str, np.ndarray] = {}  # whole pictures would take several times the memory
        errors: dict[str, str] = {}
        for file in part:
            try:
                inputs[file] = model.preprocess(read_image(file))
            except ImageError as error:
                errors[file] = _without_name(error, file)
        found = _predict(model, inputs, top_k, errors)
        yield [_row(file, found.get(file), errors.get(file)) for file in part]


def _predict(
    model: VisionModel, inputs: dict[str, np.ndarray], top_k: int, errors: dict[str, str]
) -> dict[str, list[Prediction]]:
    pictures: list[Any] = list(inputs.values())
    try:
        answers: Any = model.predict(pictures, top_k)
        return dict(zip(inputs, answers, strict=True))
    except ImageError:  # one of them has logits that are not finite: which, they say one by one
        found: dict[str, Any] = {}
        for file, pixels in inputs.items():
            try:
                found[file] = model.predict(pixels, top_k)
            except ImageError as error:
                errors[file] = str(error)
        return found


def _without_name(error: ImageError, file: str) -> str:
    return str(error).removeprefix(f"{file}: ")


def _row(file: str, found: list[Prediction] | None, error: str | None) -> Row:
    predictions = None if found is None else [dataclasses.asdict(each) for each in found]
    return {"file": file, "predictions": predictions, "error": error}
