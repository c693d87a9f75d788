"""The features of many pictures, some at once."""

from __future__ import annotations

import base64
import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from vimnp.errors import ConfigError, ImageError
from vimnp.jobs.embeddings import expect_embeddings, names_of, write_embeddings
from vimnp.jobs.operation import Row, Tabulated
from vimnp.models.vision import VisionModel

_STORED = np.dtype("<f4")


@dataclasses.dataclass(frozen=True)
class Embed(Tabulated):
    """What goes into the network's head, of each picture.

    In rows these are Base64 of the float32 numbers' bytes, the least significant first: all their
    bits, in a third of the characters that decimal digits take.

    Parameters
    ----------
    dim : int
        How many features a picture has.
    """

    name: ClassVar[str] = "embed"
    result: ClassVar[str] = "features"
    lacking: ClassVar[str] = "features"

    dim: int

    @classmethod
    def of(cls, model: VisionModel) -> Self:
        """For a network.

        Raises
        ------
        ConfigError
            If it has no features of a whole picture, but those of every token.
        ImageError
            If it takes no pictures, but arrays of other channels.
        """
        shape = model.features([]).shape[1:]
        if len(shape) != 1:
            raise ConfigError(
                f"this network's features are of shape {shape}, those of every token; expected a "
                "network with one vector for a picture: a class token, or tokens that are averaged"
            )
        preprocessing = model.metadata.preprocessing
        assert preprocessing is not None  # metadata of a network of pictures have it
        preprocessing.expect_pictures()
        return cls(shape[0])

    def results(
        self, model: VisionModel, inputs: Mapping[str, np.ndarray]
    ) -> list[str | ImageError]:
        """A vector each, as rows have it."""
        return [_packed(features) for features in model.features(list(inputs.values()))]

    def is_result(self, value: object) -> bool:
        """So many numbers, all finite."""
        if not isinstance(value, str):
            return False
        try:
            features = unpacked(value)
        except ValueError:
            return False
        return features.shape == (self.dim,) and bool(np.isfinite(features).all())

    @staticmethod
    def expect_table(path: str | os.PathLike[str]) -> None:
        """One of ``.npy`` and ``.parquet``."""
        expect_embeddings(path)

    @staticmethod
    def errors_in(path: str) -> str:
        """The names of pictures, where these are beside the features."""
        return names_of(path)

    def write(
        self, path: str | os.PathLike[str], rows: Sequence[Row], settings: dict[str, Any]
    ) -> None:
        """Write one row of numbers for each picture; of one with an error they are missing."""
        files = [(row["file"], row["error"]) for row in rows]
        vectors = (None if row["error"] is not None else unpacked(row["features"]) for row in rows)
        write_embeddings(path, self.dim, files, vectors, settings)


def unpacked(text: str) -> np.ndarray:
    """A row's features, float32. Raises ValueError if it is no Base64 of such numbers."""
    return np.frombuffer(base64.b64decode(text, validate=True), _STORED)


def _packed(features: np.ndarray) -> str | ImageError:
    wrong = np.count_nonzero(~np.isfinite(features))
    if wrong:
        return ImageError(
            f"{wrong} of the picture's {len(features)} features are not finite; expected numbers: "
            "look for what is too large in the weights"
        )
    return base64.b64encode(features.astype(_STORED, copy=False).tobytes()).decode()
