"""A progress bar for commands that take their time."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from vimnp.commands.console import say


class Progress(Protocol):
    """What a command tells while it works."""

    def update(self, n: int = 1) -> object:
        """So many more are done."""


class _Unseen:
    def update(self, n: int = 1) -> object:
        return None


@contextmanager
def progress_bar(total: int, unit: str, done: int = 0) -> Iterator[Progress]:
    """A bar on stderr, by tqdm; without tqdm none, which is said. None is drawn into a file.

    Parameters
    ----------
    total : int
        How many there are.
    unit : str
        Of what, as in "picture".
    done : int
        How many were done before.
    """
    try:
        from tqdm import tqdm
    except ImportError:
        say("no progress bar without tqdm: pip install 'vimnp[progress]'")
        yield _Unseen()
        return
    hidden = True if sys.stderr is None else None  # None: unless it is a terminal
    with tqdm(total=total, initial=done, unit=unit, disable=hidden, leave=False) as bar:
        yield bar
