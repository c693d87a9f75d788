"""Two networks beside each other on the same pictures: what int8 changes, for one.

>>> exact, model = vimnp.load("digits"), vimnp.load("digits", precision="int8")
>>> folder = vimnp.image_folder.find_pictures("scans", model.metadata)  # a folder for each class
>>> comparison = compare(model, exact, folder.path, folder.samples)
>>> comparison.same, comparison.relative < 0.02
(10, True)
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from vimnp.counts import checked_count
from vimnp.errors import ConfigError, ImageError
from vimnp.evaluate.accuracy import Accuracy, expect_logits, rank_of
from vimnp.evaluate.image_folder import Sample
from vimnp.images.preprocessing import read_image
from vimnp.models.vision import VisionModel


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What two networks make of the same pictures.

    Parameters
    ----------
    num_classes : int
    ranks : tuple of (Sample, int, int)
        Each picture, and how many classes each network prefers to the true one.
    changed : tuple of (Sample, int, int)
        The pictures of another class, and the index of the class that each network sees.
    unreadable : tuple of (Sample, str)
        The others, which could not be read or have logits that are not finite, and why.
    rms : float
        The root mean square of what the logits differ by.
    largest : float
        The most that one does.
    spread : float
        The root mean square of what the other network's logits vary by, from picture to picture.
    """

    num_classes: int
    ranks: tuple[tuple[Sample, int, int], ...]
    changed: tuple[tuple[Sample, int, int], ...]
    unreadable: tuple[tuple[Sample, str], ...]
    rms: float
    largest: float
    spread: float

    @property
    def same(self) -> int:
        """Pictures in which both see the same class."""
        return len(self.ranks) - len(self.changed)

    @property
    def relative(self) -> float:
        """What the logits differ by, over what they vary by; 0 where they do neither."""
        return self.rms / self.spread if self.spread else (math.inf if self.rms else 0.0)

    def top(self, k: int) -> tuple[Accuracy, Accuracy]:
        """Accuracy of both; `k` is at most the number of classes."""
        k = min(k, self.num_classes)
        ranks = [(first, second) for _, first, second in self.ranks]
        right = [sum(rank < k for rank in of_one) for of_one in zip(*ranks, strict=True)] or [0, 0]
        return Accuracy(k, right[0], len(ranks)), Accuracy(k, right[1], len(ranks))


class _Logits:
    """What is kept of the logits: sums over all pictures."""

    def __init__(self, num_classes: int) -> None:
        self._pictures, self._largest, self._difference = 0, 0.0, 0.0
        self._sum, self._squares = np.zeros(num_classes), np.zeros(num_classes)
        self._first: np.ndarray | None = None

    def add(self, found: np.ndarray, reference: np.ndarray) -> None:
        difference = found.astype(np.float64) - reference
        self._pictures += 1
        self._largest = max(self._largest, float(np.abs(difference).max()))
        self._difference += float(np.square(difference).mean())
        if self._first is None:  # what is near the mean is squared with less of a loss
            self._first = reference.astype(np.float64)
        self._sum += reference - self._first
        self._squares += np.square(reference - self._first)

    def facts(self) -> tuple[float, float, float]:
        """Root mean square and largest of the differences, and the spread of the reference."""
        n = max(self._pictures, 1)
        variances = np.maximum(self._squares / n - np.square(self._sum / n), 0)
        return math.sqrt(self._difference / n), self._largest, math.sqrt(variances.mean())


def compare(
    model: VisionModel,
    reference: VisionModel,
    folder: str | os.PathLike[str],
    samples: Sequence[Sample],
    *,
    batch: int = 8,
    on_progress: Callable[[int], object] = lambda number: None,
) -> Comparison:
    """Hold what a network sees in pictures against what another one sees in them.

    Parameters
    ----------
    model, reference : VisionMamba or VMamba
        Of the same classes. Each looks at pictures in its own way.
    folder : path-like
        Where the samples' paths begin.
    samples : sequence of Sample
    batch : int
        How many pictures are given to the networks at once.
    on_progress : callable
        Is told after each batch how many pictures it had.

    Raises
    ------
    ConfigError
        If `batch` is less than 1, the networks have other numbers of classes, or for what
        :func:`vimnp.evaluate.accuracy.expect_logits` raises.
    """
    batch = checked_count("batch", batch)
    for each in (model, reference):
        expect_logits(each)
    classes = model.config.num_classes
    if reference.config.num_classes != classes:
        raise ConfigError(
            f"the networks have {classes} and {reference.config.num_classes} classes; expected two "
            "of the same classes"
        )
    ranks: list[tuple[Sample, int, int]] = []
    changed: list[tuple[Sample, int, int]] = []
    unreadable: list[tuple[Sample, str]] = []
    logits = _Logits(classes)
    for begin in range(0, len(samples), batch):
        part = samples[begin : begin + batch]
        inputs = _read(model, reference, Path(folder), part, unreadable)
        of_model = model([pair[0] for pair in inputs.values()])
        of_reference = reference([pair[1] for pair in inputs.values()])
        for sample, found, expected in zip(inputs, of_model, of_reference, strict=True):
            try:
                of_both = rank_of(found, sample.target), rank_of(expected, sample.target)
            except ImageError as error:
                unreadable.append((sample, str(error)))
                continue
            ranks.append((sample, *of_both))
            logits.add(found, expected)
            seen = int(found.argmax()), int(expected.argmax())
            if seen[0] != seen[1]:
                changed.append((sample, *seen))
        on_progress(len(part))
    return Comparison(classes, tuple(ranks), tuple(changed), tuple(unreadable), *logits.facts())


def _read(
    model: VisionModel,
    reference: VisionModel,
    folder: Path,
    samples: Sequence[Sample],
    unreadable: list[tuple[Sample, str]],
) -> dict[Sample, tuple[np.ndarray, np.ndarray]]:
    """The pictures as each network takes them; those that cannot be read are noted."""
    inputs = {}
    for sample in samples:
        file = folder / sample.path
        try:
            picture = read_image(file)
            inputs[sample] = model.preprocess(picture), reference.preprocess(picture)
        except ImageError as error:
            unreadable.append((sample, str(error).removeprefix(f"{file}: ")))
    return inputs
