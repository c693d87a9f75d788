"""What the converter has to know of a family of networks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import numpy as np

from vimnp.weights.family import Configuration, ReadTensor

Shapes = Mapping[str, tuple[int, ...]]


class Made(NamedTuple):
    """Tensors that a checkpoint lacks and its network can do with.

    Parameters
    ----------
    tensors : dict of str to ndarray of float32
        By their names in the family's list of tensors.
    assumption : str
        What was made, and why, as a sentence; of no meaning without tensors.
    """

    tensors: dict[str, np.ndarray]
    assumption: str


NOTHING = Made({}, "")


def _nothing(shapes: Shapes) -> Made:
    return NOTHING


class Converter(NamedTuple):
    """How state dicts of a family of networks are converted.

    Parameters
    ----------
    title : str
        Of the family, for people.
    example : str
        A name that its state dicts hold.
    configuration : type
    published : mapping of str to Configuration
        The published networks, by the names that users know them by.
    rename : callable
        Takes the names of a state dict; gives the name there of each tensor, by its name in the
        family's list of tensors. What it leaves out is no part of the network.
    recognise : callable
        Whether a state dict, by the shapes of the renamed tensors, is of this family.
    infer : callable
        Takes the shapes, the user's settings and the name of a published network, or None; gives
        the configuration, whose tensors are exactly these, and a list of what it assumed.
    examine : callable
        Takes the configuration, a reader of tensors, the settings and the published network's name;
        gives what of the assumed the numbers do not bear out, as sentences.
    complete : callable
        Takes the shapes of a state dict that was recognised; gives what it lacks, by default
        nothing.
    """

    title: str
    example: str
    configuration: type[Configuration]
    published: Mapping[str, Configuration]
    rename: Callable[[Collection[str]], dict[str, str]]
    recognise: Callable[[Shapes], bool]
    infer: Callable[[Shapes, Mapping[str, Any], str | None], tuple[Any, list[str]]]
    examine: Callable[[Any, ReadTensor, Mapping[str, Any], str | None], list[str]]
    complete: Callable[[Shapes], Made] = _nothing
