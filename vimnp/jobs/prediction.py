"""What a network sees in many pictures, some at once."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from vimnp.errors import ImageError
from vimnp.jobs.addresses import read_picture as read_image
from vimnp.jobs.operation import Row, Tabulated
from vimnp.jobs.tables import write_table, writer_of
from vimnp.models.vision import Prediction, VisionModel


@dataclasses.dataclass(frozen=True)
class Predict(Tabulated):
    """The likeliest classes of each picture, best first: ``index``, ``label`` and ``score`` each.

    Parameters
    ----------
    top_k : int
        Of how many classes; all of them where the network has fewer.
    """

    name: ClassVar[str] = "predict"
    result: ClassVar[str] = "predictions"
    lacking: ClassVar[str] = "classes"

    top_k: int = 5

    def results(self, model: VisionModel, inputs: Mapping[str, np.ndarray]) -> list[Any]:
        """A list of classes each.

        Raises
        ------
        ConfigError
            If the network gives no logits for a whole picture.
        """
        pictures: list[Any] = list(inputs.values())
        try:
            answers: list[list[Prediction]] = model.predict(pictures, self.top_k)
        except ImageError:  # one of them has logits that are not finite: they say which one by one
            return [self._alone(model, pixels) for pixels in pictures]
        return [_as_json(answer) for answer in answers]

    def is_result(self, value: object) -> bool:
        """A list of classes."""
        return isinstance(value, list) and all(map(_is_class, value))

    @staticmethod
    def expect_table(path: str | os.PathLike[str]) -> None:
        """One of ``.jsonl``, ``.csv`` and ``.parquet``."""
        writer_of(path)

    def write(
        self, path: str | os.PathLike[str], rows: Sequence[Row], settings: dict[str, Any]
    ) -> None:
        """Write columns for each class; the settings are not written."""
        write_table(path, rows, self.top_k)

    def _alone(self, model: VisionModel, pixels: Any) -> Any:
        try:
            return _as_json(model.predict(pixels, self.top_k))
        except ImageError as error:
            return error


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
    return Predict(top_k).batches(model, files, batch=batch, read=read_image)


def _as_json(predictions: list[Prediction]) -> list[dict[str, Any]]:
    return [dataclasses.asdict(each) for each in predictions]


def _is_class(value: object) -> bool:
    match value:
        case {"index": int(), "label": None | str(), "score": float() | int()}:
            return True
    return False
