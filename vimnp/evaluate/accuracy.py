"""Accuracy over labelled pictures.

>>> model = vimnp.load("digits")
>>> folder = vimnp.image_folder.find_pictures("scans", model.metadata)  # a folder for each class
>>> evaluation = evaluate(model, folder.path, folder.samples)
>>> evaluation.top(1).share, evaluation.top(5).share
(1.0, 1.0)
"""

from __future__ import annotations

import dataclasses
import math
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import ClassVar, NamedTuple

import numpy as np

from vimnp.counts import checked_count
from vimnp.errors import ImageError
from vimnp.evaluate.image_folder import Sample
from vimnp.evaluate.results import Outcome, ResultsFile
from vimnp.images.preprocessing import read_image
from vimnp.jobs.operation import Operation, Row
from vimnp.models.ranking import best_first
from vimnp.models.vision import VisionModel

_NORMAL_QUANTILE = 1.959964  # 95 % of a normal distribution lie within so many deviations


class Accuracy(NamedTuple):
    """How often the true class is among those that the network likes best.

    Parameters
    ----------
    k : int
        How many classes count as liked best.
    right : int
        Pictures whose class is among them.
    pictures : int
        All that were counted.
    """

    k: int
    right: int
    pictures: int

    @property
    def share(self) -> float:
        """Which part of the pictures is right, 0 to 1."""
        return self.right / self.pictures

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's score interval of the share with 95 % confidence.

        E. B. Wilson, Probable inference, the law of succession, and statistical inference, Journal
        of the American Statistical Association 22 (1927), 209-212. It holds for few pictures and
        for shares near 1, too.
        """
        n, z = self.pictures, _NORMAL_QUANTILE
        centre = self.share + z**2 / (2 * n)
        margin = z * math.sqrt(self.share * (1 - self.share) / n + (z / (2 * n)) ** 2)
        low, high = ((centre + side) / (1 + z**2 / n) for side in (-margin, margin))
        # Rounding may lead past these.
        return min(max(low, 0.0), self.share), max(min(high, 1.0), self.share)


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What an evaluation found. Equal ones differ in time at most.

    Parameters
    ----------
    num_classes : int
        That the network tells apart.
    ranks : tuple of (Sample, int)
        Each picture that has a result, and how many classes the network prefers to the true one.
    unreadable : tuple of (Sample, str)
        The others, which could not be read or have logits that are not finite, and why.
    new : int
        How many pictures were looked at, and not taken from a file of results.
    seconds : float
        What that took, reading the pictures included.
    """

    num_classes: int
    ranks: tuple[tuple[Sample, int], ...]
    unreadable: tuple[tuple[Sample, str], ...]
    new: int = dataclasses.field(compare=False)
    seconds: float = dataclasses.field(compare=False)

    def top(self, k: int) -> Accuracy:
        """Count over all pictures that have a result.

        Parameters
        ----------
        k : int
            How many classes count as liked best; at most as many as there are.

        Returns
        -------
        Accuracy
            Top-1 for a `k` of 1.
        """
        return self._accuracy([rank for _, rank in self.ranks], k)

    def top_by_class(self, k: int) -> dict[int, Accuracy]:
        """Count the same over the pictures of each class.

        Parameters
        ----------
        k : int
            As for :meth:`top`.

        Returns
        -------
        dict of int to Accuracy
            By the class's index; classes without a picture are left out.
        """
        by_class: dict[int, list[int]] = defaultdict(list)
        for sample, rank in self.ranks:
            by_class[sample.target].append(rank)
        return {target: self._accuracy(ranks, k) for target, ranks in by_class.items()}

    def _accuracy(self, ranks: list[int], k: int) -> Accuracy:
        k = min(k, self.num_classes)
        return Accuracy(k, sum(rank < k for rank in ranks), len(ranks))


def evaluate(
    model: VisionModel,
    folder: str | os.PathLike[str],
    samples: Sequence[Sample],
    *,
    batch: int = 8,
    results: ResultsFile | None = None,
    on_progress: Callable[[int], object] = lambda number: None,
    rows_of: Callable[[Sequence[str]], Iterator[list[Row]]] | None = None,
) -> Evaluation:
    """Evaluate a network: hold what it sees in pictures against what is in them.

    Parameters
    ----------
    model : VisionMamba, VMamba or MedMamba
        With a head.
    folder : path-like
        Where the samples' paths begin.
    samples : sequence of Sample
        Labelled pictures, as :func:`vimnp.image_folder.find_pictures` gives them.
    batch : int
        How many pictures are given to the network at once, and are in memory together.
    results : ResultsFile, optional
        Pictures whose rank is in it are not looked at again; the others' are added.
    on_progress : callable
        Is told after each batch how many pictures it had.
    rows_of : callable, optional
        Gives the rows of :class:`Rank` for the paths of samples, some at a time and in any order:
        for pictures that others look at, and not `model`.

    Returns
    -------
    Evaluation
        The same with any batch, and with the results of any part of the pictures.

    Raises
    ------
    ConfigError
        If `batch` is less than 1, another process writes to the results' file, or the network has
        no head, or logits for every token.
    ImageError
        If the network takes no pictures, but arrays of other channels. What is wrong with a single
        picture is in the evaluation.
    OSError
        If the results cannot be written.
    """
    batch = checked_count("batch", batch)
    expect_logits(model)
    outcomes: dict[Sample, Outcome] = {}
    if results is not None:
        results.append({})  # a file that cannot be written is noticed now
        outcomes = {s: results.ranks[s.path] for s in samples if s.path in results.ranks}
    new = [sample for sample in samples if sample not in outcomes]
    start = time.perf_counter()
    by_path = {sample.path: sample for sample in new}
    if rows_of is None:
        rank = Rank(os.fspath(folder), dict(samples))
        every_row = rank.batches(model, list(by_path), batch=batch, read=read_image)
    else:
        every_row = rows_of(list(by_path))
    for rows in every_row:
        found = {by_path[row["file"]]: _outcome(row) for row in rows}
        if results is not None:
            results.append(found)
        outcomes |= found
        on_progress(len(found))
    seconds = time.perf_counter() - start
    ordered = [(sample, outcomes[sample]) for sample in samples]
    return Evaluation(
        num_classes=model.config.num_classes,
        ranks=tuple((sample, rank) for sample, rank in ordered if isinstance(rank, int)),
        unreadable=tuple((sample, error) for sample, error in ordered if isinstance(error, str)),
        new=len(new),
        seconds=seconds,
    )


def expect_logits(model: VisionModel) -> None:
    """Make sure that a network says of a picture in which class it is.

    Raises
    ------
    ConfigError
        If it has no head, or logits for every token.
    ImageError
        If it takes no pictures, but arrays of other channels.
    """
    model.predict([])
    preprocessing = model.metadata.preprocessing
    assert preprocessing is not None  # metadata of a network of pictures have it
    preprocessing.expect_pictures()


def rank_of(logits: np.ndarray, target: int) -> int:
    """How many classes come before one of them, in the order of ``VisionMamba.predict``.

    Parameters
    ----------
    logits : ndarray of float32, shape (classes,)
    target : int

    Returns
    -------
    int
        0 for the network's first choice.

    Raises
    ------
    ImageError
        If the logits are not finite.
    """
    return int(np.flatnonzero(best_first(logits) == target)[0])


@dataclasses.dataclass(frozen=True)
class Rank(Operation):
    """How many classes the network prefers to the true one, of each picture.

    Parameters
    ----------
    folder : str
        Where the pictures' names begin.
    targets : dict of str to int
        The index of each picture's true class.
    """

    name: ClassVar[str] = "eval"
    result: ClassVar[str] = "rank"

    folder: str
    targets: dict[str, int]

    def place(self, file: str) -> str:
        """In the folder."""
        return os.path.join(self.folder, file)

    def results(
        self, model: VisionModel, inputs: Mapping[str, np.ndarray]
    ) -> list[int | ImageError]:
        """A whole number each, 0 for the network's first choice."""
        logits = model(list(inputs.values()))
        return [
            _rank_or_error(row, self.targets[file])
            for file, row in zip(inputs, logits, strict=True)
        ]

    def is_result(self, value: object) -> bool:
        """A whole number, but no boolean."""
        return type(value) is int and value >= 0


def _rank_or_error(logits: np.ndarray, target: int) -> int | ImageError:
    try:
        return rank_of(logits, target)
    except ImageError as error:
        return error


def _outcome(row: Row) -> Outcome:
    found: Outcome = row["rank"] if row["error"] is None else row["error"]
    return found
