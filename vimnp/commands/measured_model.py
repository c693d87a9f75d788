"""The options that say which network a measuring command runs: one of any kind."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable, Container, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from vimnp.commands.model_options import (
    add_img_size,
    add_precision,
    load_network,
    names_of_pictures,
    published_of_pictures,
    random_name,
)
from vimnp.commands.options import as_given
from vimnp.commands.running_options import add_dtype
from vimnp.commands.weights_option import add_weights_and_model, weights_of
from vimnp.errors import VimnpError
from vimnp.models import LANGUAGE_MODELS, language_model, load
from vimnp.weights.file import WeightsFile

if TYPE_CHECKING:
    from vimnp.models.language import LanguageModel
    from vimnp.models.mamba.config import MambaConfig
    from vimnp.models.vision import VisionModel

    AnyModel: TypeAlias = VisionModel | LanguageModel

Load: TypeAlias = "Callable[..., AnyModel]"
"""Gives the network, run in a way: `backend`, `scan`, `num_threads`; of pictures, `precision`."""

_OF_PICTURES = ("img_size", "precision")
_OF_TEXT = ("dtype", "tokens")


class _Published(Container[str]):
    """Names of published networks. Language models load if no network of pictures is meant."""

    def __contains__(self, name: object) -> bool:
        return published_of_pictures(str(name)) is not None or name in _language_models()

    def __iter__(self) -> Iterator[str]:
        yield from names_of_pictures()
        yield from _language_models()


def add_measured_model(parser: argparse.ArgumentParser, *, all_precisions: bool = False) -> None:
    """Any network, whatever it has learnt; `all_precisions` if they may be asked for together."""
    parser.set_defaults(default_random="tiny")
    group = add_weights_and_model(parser, "")
    group.add_argument(
        "--random",
        choices=_Published(),
        metavar="NAME",
        help="without --weights, a published network with random ones: %(choices)s (tiny)",
    )
    add_img_size(parser)
    add_precision(parser, or_all=all_precisions)
    add_dtype(parser)


def find_model(options: argparse.Namespace) -> Load:
    """How the network is loaded that the options ask for.

    Raises
    ------
    VimnpError
        If an option is for networks of another kind, or the weights cannot be read.
    """
    if not _is_language_model(options):
        _refuse(options, _OF_TEXT, "looks at pictures")
        return functools.partial(load_network, options)
    _refuse(options, _OF_PICTURES, "is a language model")
    if options.scan != "fused":
        given = as_given("--scan", options.scan)
        raise VimnpError(f"{given}: the network is a language model, which scans fused only")
    return functools.partial(_load_language_model, options)


def _is_language_model(options: argparse.Namespace) -> bool:
    name = random_name(options)
    if name is not None:
        return published_of_pictures(name) is None
    weights = weights_of(options)
    assert weights is not None  # else there is a name for random ones
    with WeightsFile(weights) as file:
        return file.metadata.config.family.name in LANGUAGE_MODELS


def _refuse(options: argparse.Namespace, names: tuple[str, ...], what: str) -> None:
    """Raise VimnpError if one of these options is given, which such a network has not."""
    for name in names:
        value = getattr(options, name)
        if value is not None:
            given = as_given(f"--{name.replace('_', '-')}", str(value))
            raise VimnpError(f"{given}: the network {what}; expected no such option")


def _load_language_model(options: argparse.Namespace, *, scan: str, **way: Any) -> LanguageModel:
    name = random_name(options)
    if name is None:
        found: Any = load(Path(options.weights), dtype=options.dtype, **way)
    else:
        config = _language_models()[name]
        found = language_model(config.family.name).random(config, dtype=options.dtype, **way)
    return found


def _language_models() -> dict[str, MambaConfig]:
    from vimnp.models.mamba import published

    return published.PUBLISHED
