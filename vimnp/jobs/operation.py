"""What a job makes of each picture: classes, features, or anything else that is a row."""

from __future__ import annotations

import abc
import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, TypeAlias

import numpy as np

from vimnp.errors import ImageError
from vimnp.images.preprocessing import Picture
from vimnp.jobs.addresses import read_picture
from vimnp.models.vision import VisionModel

Row: TypeAlias = "dict[str, Any]"
"""``file``, the operation's result under its own name, and ``error``; of the last two one is None.
All values are as JSON has them."""

ReadPicture: TypeAlias = Callable[[str], Picture]
"""Gives a picture by its name. Raises ImageError if it cannot be read."""


@dataclasses.dataclass(frozen=True)
class Operation(abc.ABC):
    """What is made of each picture.

    A subclass is a dataclass, and its fields are what the results depend on beside the network. It
    is small and can be pickled: whoever works in another process, or on another machine, sends it
    there with names of pictures, and gets rows.
    """

    name: ClassVar[str]
    """That of the command."""

    result: ClassVar[str]
    """What a row calls the result."""

    def settings(self) -> dict[str, Any]:
        """What the results depend on beside the network; values as JSON has them."""
        return dataclasses.asdict(self)

    def place(self, file: str) -> str:
        """Where the picture is that a row calls by this name."""
        return file

    @abc.abstractmethod
    def results(
        self, model: VisionModel, inputs: Mapping[str, np.ndarray]
    ) -> Sequence[Any | ImageError]:
        """What comes of a batch, in its order; in the place of what has none, why.

        Parameters
        ----------
        model : VisionMamba or VMamba
        inputs : mapping of str to ndarray of float32, shape (channels, H, W)
            Normalised pixels by the names of the pictures.
        """

    @abc.abstractmethod
    def is_result(self, value: object) -> bool:
        """Whether a row that was read from a file can be one of this operation's."""

    def rows(
        self, model: VisionModel, files: Sequence[str], read: ReadPicture = read_picture
    ) -> list[Row]:
        """A batch of pictures, each read and given to the network at most once.

        Parameters
        ----------
        model : VisionMamba or VMamba
        files : sequence of str
            The names of the pictures, each once. They are in memory together.
        read : callable
            Gives each picture by its place.

        Returns
        -------
        list of Row
            In the order of the files. A picture that cannot be read has its error.
        """
        inputs: dict[str, np.ndarray] = {}  # whole pictures would take several times the memory
        errors: dict[str, str] = {}
        for file in files:
            place = self.place(file)
            try:
                inputs[file] = model.preprocess(read(place))
            except ImageError as error:
                errors[file] = str(error).removeprefix(f"{place}: ")
        found: dict[str, Any] = {}
        for file, result in zip(inputs, self.results(model, inputs), strict=True):
            if isinstance(result, ImageError):
                errors[file] = str(result)
            else:
                found[file] = result
        return [self.row(file, found.get(file), errors.get(file)) for file in files]

    def batches(
        self,
        model: VisionModel,
        files: Sequence[str],
        *,
        batch: int = 8,
        read: ReadPicture = read_picture,
    ) -> Iterator[list[Row]]:
        """The rows of all pictures, a batch at a time.

        Parameters
        ----------
        model, files, read
            As for :meth:`rows`.
        batch : int
            How many pictures are given to the network at once, and are in memory together.
        """
        for begin in range(0, len(files), batch):
            yield self.rows(model, files[begin : begin + batch], read)

    def row(self, file: str, result: Any | None, error: str | None) -> Row:
        """A picture's row, of which either the result or the error is None."""
        return {"file": file, self.result: result, "error": error}


class Tabulated(Operation):
    """An operation whose rows become a table."""

    lacking: ClassVar[str]
    """What a picture with an error has none of."""

    @staticmethod
    @abc.abstractmethod
    def expect_table(path: str | os.PathLike[str]) -> None:
        """Make sure that such a table can be written: asked before hours of work.

        Raises
        ------
        ConfigError
            If the name ends as no table's does, or a library is missing.
        """

    @staticmethod
    def errors_in(path: str) -> str:
        """The file that has the errors' column of such a table."""
        return path

    @abc.abstractmethod
    def write(
        self, path: str | os.PathLike[str], rows: Sequence[Row], settings: dict[str, Any]
    ) -> None:
        """Write the table, whole or not at all.

        Parameters
        ----------
        path : path-like
        rows : sequence of Row
        settings : dict
            What the rows depend on beside the operation; values as JSON has them.

        Raises
        ------
        ConfigError
            As from :meth:`expect_table`, or if the table cannot take a picture's name.
        OSError
            If the file cannot be written.
        """
