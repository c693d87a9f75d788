"""A row for each picture, kept while a job runs, so that one that was interrupted can go on."""

from __future__ import annotations

import os
from typing import Any

from vimnp.jobs.operation import Operation, Row
from vimnp.storage.journal import Journal, Words

ROWS_VERSION = 2

PART = ".part"
"""What the name of a table that is not complete ends in."""


class Rows(Journal):
    """The rows of a table that is not complete, in a file beside it.

    Parameters
    ----------
    table : path-like
        The file that the table is to be written to; the rows are in one whose name ends in
        ``.part`` besides.
    operation : Operation
        What the rows are results of.
    settings : dict
        What the rows depend on beside it; values as JSON has them.

    Attributes
    ----------
    rows : dict of str to Row
        By the picture's file.

    Raises
    ------
    ConfigError, OSError
        As for every :class:`vimnp.storage.journal.Journal`.
    """

    def __init__(
        self, table: str | os.PathLike[str], operation: Operation, settings: dict[str, Any]
    ) -> None:
        self.rows: dict[str, Row] = {}
        self._operation = operation
        self._words = Words("rows of pictures", f"vimnp {operation.name}", "a picture's row")
        super().__init__(f"{os.fspath(table)}{PART}", header(operation, settings))

    def has_result(self, file: str) -> bool:
        """Whether a picture has a row, and in that a result and no error."""
        return file in self.rows and self.rows[file]["error"] is None

    def remove(self) -> None:
        """Remove the file, where the table is written."""
        self.close()
        self.path.unlink()

    def _take(self, line: Any) -> None:
        row = checked_row(self._operation, line)
        self.rows[row["file"]] = row


def header(operation: Operation, settings: dict[str, Any]) -> dict[str, Any]:
    """What the first line of rows in a file says."""
    named = {"vimnp_rows": ROWS_VERSION, "operation": operation.name}
    return named | settings | operation.settings()


def is_header(value: object) -> bool:
    """Whether this is what :func:`header` gives, of any operation."""
    return isinstance(value, dict) and value.get("vimnp_rows") == ROWS_VERSION


def checked_row(operation: Operation, value: Any) -> Row:
    """A row as it was read. Raises ValueError if it is none of the operation's."""
    match value:
        case {"file": str(), "error": None, **others} if len(others) == 1:
            if operation.is_result(others.get(operation.result)):
                row: Row = value
                return row
        case {"file": str(), "error": str(), **others} if others == {operation.result: None}:
            return value
    raise ValueError(f"neither {operation.result} nor an error")
