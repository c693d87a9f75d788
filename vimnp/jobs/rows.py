"""A row for each picture, kept while a job runs, so that one that was interrupted can go on."""

from __future__ import annotations

import os
from typing import Any, TypeAlias

from vimnp.storage.journal import Journal, Words

Row: TypeAlias = "dict[str, Any]"
"""``file``, ``predictions`` (best first: ``index``, ``label`` and ``score`` each) and ``error``; of
the last two one is None."""

ROWS_VERSION = 1

PART = ".part"
"""What the name of a table that is not complete ends in."""


class Rows(Journal):
    """The rows of a table that is not complete, in a file beside it.

    Parameters
    ----------
    table : path-like
        The file that the table is to be written to; the rows are in one whose name ends in
        ``.part`` besides.
    settings : dict
        What the rows depend on; values as JSON has them.

    Attributes
    ----------
    rows : dict of str to Row
        By the picture's file.

    Raises
    ------
    ConfigError, OSError
        As for every :class:`vimnp.storage.journal.Journal`.
    """

    _words = Words("rows of pictures", "vimnp predict", "a picture's row")

    def __init__(self, table: str | os.PathLike[str], settings: dict[str, Any]) -> None:
        self.rows: dict[str, Row] = {}
        super().__init__(f"{os.fspath(table)}{PART}", {"vimnp_rows": ROWS_VERSION, **settings})

    def remove(self) -> None:
        """Remove the file, where the table is written."""
        self.close()
        self.path.unlink()

    def _take(self, line: Any) -> None:
        match line:
            case {"file": str(file), "predictions": list(), "error": None}:
                self.rows[file] = line
            case {"file": str(file), "predictions": None, "error": str()}:
                self.rows[file] = line
            case _:
                raise ValueError("neither predictions nor an error")
