"""A row for each picture, kept while a job runs, so that one that was interrupted can go on."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Any, overload

from vimnp.jobs.operation import Operation, Row
from vimnp.storage.journal import Journal, Words
from vimnp.storage.json_text import parse_json

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

    Raises
    ------
    ConfigError, OSError
        As for every :class:`vimnp.storage.journal.Journal`.

    Notes
    -----
    The rows are in the file, and in memory is where each one begins: a million pictures' features
    would take gigabytes.
    """

    def __init__(
        self, table: str | os.PathLike[str], operation: Operation, settings: dict[str, Any]
    ) -> None:
        self._places: dict[str, int] = {}
        self._errors: set[str] = set()
        self._operation = operation
        self._words = Words("rows of pictures", f"vimnp {operation.name}", "a picture's row")
        super().__init__(f"{os.fspath(table)}{PART}", header(operation, settings))

    def has_result(self, file: str) -> bool:
        """Whether a picture has a row, and in that a result and no error."""
        return file in self._places and file not in self._errors

    def of(self, files: Sequence[str]) -> Sequence[Row]:
        """The rows of these pictures, which all have one: each is read when it is asked for."""
        path = str(self.path)
        return StoredRows(self._operation, [(path, self._places[file]) for file in files])

    def remove(self) -> None:
        """Remove the file, where the table is written."""
        self.close()
        self.path.unlink()

    def _take(self, line: Any, place: int) -> None:
        row = checked_row(self._operation, line)
        file = row["file"]
        self._places[file] = place
        if row["error"] is None:
            self._errors.discard(file)
        else:
            self._errors.add(file)


class StoredRows(Sequence[Row]):
    """Rows in files, each of which is read when it is asked for.

    Parameters
    ----------
    operation : Operation
        What they are results of.
    places : sequence of (str, int)
        Each one's file, and the byte where it begins there.
    """

    def __init__(self, operation: Operation, places: Sequence[tuple[str, int]]) -> None:
        self._operation, self._places = operation, places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | Sequence[Row]:
        if isinstance(index, slice):
            return StoredRows(self._operation, self._places[index])
        (row,) = StoredRows(self._operation, [self._places[index]])
        return row

    def __iter__(self) -> Iterator[Row]:
        with contextlib.ExitStack() as files:
            last = None
            for path, place in self._places:
                if path != last:  # there may be more files than a process can have open
                    files.close()
                    file = files.enter_context(open(path, "rb"))
                    last = path
                file.seek(place)
                yield checked_row(self._operation, parse_json(file.readline()))


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
