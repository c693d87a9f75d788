"""Weights by name: where a network's class asks for the file that a name stands for.

Who fetches and converts files stands above the networks (:mod:`vimnp.hub`), and makes itself known
here, as the families do in :mod:`vimnp.weights.family`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

from vimnp.errors import HubError
from vimnp.weights.family import Configuration

SCHEME = "hf://"
"""What the address of a file on the Hugging Face Hub begins with."""

_modules: list[str] = []


def register_finder(module: str) -> None:
    """Make a module known that finds weights by name; it loads when the first name is asked for.

    Parameters
    ----------
    module : str
        It has the function ``find_weights``; see :func:`vimnp.hub.find_weights`.
    """
    _modules[:] = [module]


def find_weights(
    name: str,
    *,
    dtype: str | None = None,
    revision: str | None = None,
    file: str | None = None,
    refresh: bool = False,
    check: Callable[[Configuration], object] | None = None,
) -> Path:
    """The weights file that a name stands for; see :func:`vimnp.hub.find_weights`."""
    if not isinstance(name, str):
        raise HubError(
            f"{name!r} is a {type(name).__name__}; expected a name, as 'vim-tiny', or "
            "'owner/repository': a file is loaded by from_npz"
        )
    (module,) = _modules
    found: Path = importlib.import_module(module).find_weights(
        name, dtype=dtype, revision=revision, file=file, refresh=refresh, check=check
    )
    return found


def is_address(path: object) -> bool:
    """Whether this is the address of a file on the Hub, and no path."""
    return isinstance(path, str) and path.startswith(SCHEME)
