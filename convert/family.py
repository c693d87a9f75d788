"""What the converter has to know of a family of networks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import MappingProxyType
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


class Beside(NamedTuple):
    """What the files beside the weights tell of a network.

    Parameters
    ----------
    settings : mapping of str to object
        Values for fields of the configuration that the weights do not tell. The user's win.
    claims : mapping of str to object
        Values of fields that the weights do tell; others make it a file of another network.
    source : str
        The file that says so, for messages.
    tokenizer : bytes, optional
        A ``tokenizer.json``.
    tokens : int
        One more than the largest id that the tokenizer gives.
    chat_template : str, optional
    files : tuple of Path
        Those that may be read.
    """

    settings: Mapping[str, Any]
    claims: Mapping[str, Any]
    source: str
    tokenizer: bytes | None = None
    tokens: int = 0
    chat_template: str | None = None
    files: tuple[Path, ...] = ()


NOTHING_BESIDE = Beside({}, {}, "")


class Training(NamedTuple):
    """What a training's configuration, which a dump has beside the weights, tells of a network.

    Parameters
    ----------
    settings : mapping of str to object
        Values for fields of the configuration that the weights do not tell. The user's win.
    claims : mapping of str to object
        Values of fields that the weights do tell. The weights win.
    """

    settings: Mapping[str, Any]
    claims: Mapping[str, Any]


class Evaluation(NamedTuple):
    """How the original prepares the pictures, red, green and blue, that it is evaluated with.

    Parameters
    ----------
    values : mapping of str to object
        Of fields of :class:`vimnp.images.preprocessing.Preprocessing` that are not as for ImageNet.
    because : str
        What is said beside the values that nobody gave.
    """

    values: Mapping[str, Any] = MappingProxyType({})
    because: str = "as in the original's evaluation"


def _nothing(shapes: Shapes) -> Made:
    return NOTHING


def _no_training(configuration: Mapping[object, object]) -> Training:
    return Training({}, {})


def _same_shape(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape


def _nothing_beside(folder: Path, tokenizer: Path | None, shapes: Shapes) -> Beside:
    return NOTHING_BESIDE


class Converter(NamedTuple):
    """How state dicts of a family of networks are converted.

    Parameters
    ----------
    title : str
        Of the family, for people; with its article where it is named apart.
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
    beside : callable
        Takes the folder that the weights lie in, a tokenizer's file to take instead of the one
        there, or None, and the shapes of all tensors; gives what the files tell, by default
        nothing.
    twins : mapping of str to str
        Tensors that are no part of the network where they hold the same numbers as another.
    takes_text : bool
        Whether it is a language model.
    reshape : callable
        Takes a tensor's name in the family's list and the shape that a state dict has it in; gives
        the shape that the list has for the same numbers in the same order, by default the same.
    training : callable
        Takes the configuration of a training, a nest of dicts from an untrusted file; gives what it
        tells of the network, by default nothing.
    named_apart : bool
        Whether the refusal of an unknown state dict names it in a sentence of its own, as it does
        language models: what people bring is a Vision Mamba most often.
    evaluation : Evaluation
        How the original prepares pictures, by default as for ImageNet.
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
    beside: Callable[[Path, Path | None, Shapes], Beside] = _nothing_beside
    twins: Mapping[str, str] = MappingProxyType({})
    takes_text: bool = False
    reshape: Callable[[str, tuple[int, ...]], tuple[int, ...]] = _same_shape
    training: Callable[[Mapping[object, object]], Training] = _no_training
    named_apart: bool = False
    evaluation: Evaluation = Evaluation()
