"""Which weights a command runs on: a file, or published ones by name."""

from __future__ import annotations

import argparse
import os

from vimnp.commands.console import say
from vimnp.commands.options import file_name
from vimnp.models import LANGUAGE_MODELS
from vimnp.models.model import stored_as
from vimnp.weights.by_name import is_address

_ALL = "all"  # of the precisions, in commands that measure each


def add_weights_and_model(
    parser: argparse.ArgumentParser, without: str, *short: str
) -> argparse._MutuallyExclusiveGroup:
    """A weights file, or published weights by name; in a group, of which one may be given.

    Parameters
    ----------
    parser : argparse.ArgumentParser
    without : str
        What is said of there being none; it stands behind other words.
    *short : str
        Other names of the option that takes a file.
    """
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--weights",
        *short,
        type=file_name,
        metavar="W.npz",
        help=f"from `vimnp convert`{without}",
    )
    group.add_argument(
        "--model",
        type=file_name,
        metavar="NAME",
        help="published weights, fetched the first time: a name that `vimnp fetch` lists, "
        "owner/repository, or hf://owner/repository/file; or a weights file",
    )
    return group


def weights_of(options: argparse.Namespace) -> str | None:
    """The weights file that the options ask for; None if they ask for none.

    Weights that they name are fetched when this is asked first, unless the cache has them.

    Raises
    ------
    HubError
        If they cannot be had.
    """
    name = getattr(options, "model", None)
    if name is not None:
        options.weights, options.model = weights_named(name, options), None
    found: str | None = options.weights
    return found


def weights_named(name: str, options: argparse.Namespace) -> str:
    """The weights file of this name; published weights are fetched unless the cache has them.

    Raises
    ------
    HubError
        If they cannot be had.
    """
    if os.path.isfile(name) or (name.endswith(".npz") and not is_address(name)):
        return name
    from vimnp.hub import find_weights  # most commands are given a file, or none
    from vimnp.hub.address import parse_address

    settings = {key: getattr(options, key, None) for key in ("dtype", "precision")}
    origin = parse_address(name).origin
    if origin is not None:  # a server may have networks of both kinds, and options for both
        del settings["precision" if origin.family in LANGUAGE_MODELS else "dtype"]
    if settings.get("precision") == _ALL:
        settings["precision"] = None
    return str(find_weights(name, dtype=stored_as(settings), notice=say))
