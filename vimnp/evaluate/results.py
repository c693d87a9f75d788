"""Results of an evaluation in a file, so that an interrupted one can go on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, TypeAlias

from vimnp.evaluate.image_folder import Sample
from vimnp.storage.journal import Journal, Words, is_same

RESULTS_VERSION = 1

Outcome: TypeAlias = int | str
"""The true class's rank (0: the network's first choice), or why the picture cannot be read."""


class ResultsFile(Journal):
    """Pictures' ranks in a file, to which :func:`evaluate` adds those that it finds.

    JSON, a line each: first what the results depend on; then pictures, as
    ``{"file": "7/a.png", "class": 7, "rank": 0}``, or with ``"error"`` for ``"rank"``. A line that
    the process did not live to finish is dropped.

    Parameters
    ----------
    path : path-like
        A new file, or one that was written with the same `settings` and `classes`.
    settings : dict
        What the results depend on; values as JSON has them.
    classes : dict of str to int
        The index of each folder's class.

    Attributes
    ----------
    ranks : dict of str to int
        The true class's rank for each picture that the file has one for, by its path.

    Raises
    ------
    ConfigError
        If the file holds something else, or results of other settings or classes. It then stays
        as it is.
    OSError
        If it cannot be read, or is no regular file.

    Notes
    -----
    One process at a time writes to a file, as to every :class:`vimnp.storage.journal.Journal`.
    """

    _words = Words("results of an evaluation", "vimnp eval", "a picture's rank")

    def __init__(
        self, path: str | os.PathLike[str], settings: dict[str, Any], classes: dict[str, int]
    ) -> None:
        self.ranks: dict[str, int] = {}
        self._classes = classes
        super().__init__(path, {"vimnp_eval": RESULTS_VERSION, **settings, "classes": classes})

    def append(self, outcomes: Mapping[Sample, Outcome]) -> None:
        """Add pictures; when it returns, the operating system has them.

        Parameters
        ----------
        outcomes : mapping of Sample to int or str
            The true class's rank, 0 for the network's first choice, or why there is none.

        Raises
        ------
        ConfigError
            If another process writes to the file, or what one wrote since it was read is refused.
        OSError
            If it cannot be written. It names the file, in which no picture is lost.
        """
        self.add(
            {"file": path, "class": target, "rank" if isinstance(found, int) else "error": found}
            for (path, target), found in outcomes.items()
        )

    def _take(self, line: Any, place: int) -> None:
        match line:
            case {"file": str(path), "class": int(target), "rank": int(rank)} if (
                rank >= 0 and type(rank) is int
            ):
                self.ranks[path] = rank
            case {"file": str(path), "class": int(target), "error": str()}:
                pass  # the picture is tried again
            case _:
                raise ValueError("neither a rank nor an error")
        if not is_same(target, self._classes.get(path.split("/")[0])):
            raise ValueError(f"class {target} is not that of the folder")
