"""Results that are added to a file line by line, so that work which was interrupted can go on."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any, NamedTuple, Self

from vimnp.errors import ConfigError, excerpt
from vimnp.storage.files import open_regular
from vimnp.storage.json_text import parse_json
from vimnp.storage.locked_file import LockedFile


class Words(NamedTuple):
    """What messages call a journal and what is in it."""

    content: str  # "results of an evaluation"
    command: str  # that writes it
    line: str  # what a line holds: "a picture's rank"


class Journal:
    """A file of JSON, a line each: first what the results depend on, then the results.

    A line that the process did not live to finish is dropped.

    Parameters
    ----------
    path : path-like
        A new file, or one that was written with the same `header`.
    header : dict
        What the results depend on; values as JSON has them.

    Raises
    ------
    ConfigError
        If the file holds something else, or results that depend on something else. It then stays
        as it is.
    OSError
        If it cannot be read, or is no regular file.

    Notes
    -----
    Only one process, and one object of it, writes to a file: the first :meth:`add` locks it
    until :meth:`close`, the end of a ``with`` block, or the object's end.
    """

    _words: Words

    def __init__(self, path: str | os.PathLike[str], header: dict[str, Any]) -> None:
        self.path = Path(path)
        self._header = header
        self._lock: LockedFile | None = None
        self._end, self._is_unfinished = 0, False
        self._digest: str | None = None  # of the content that was read, until the file is locked
        try:
            with open(open_regular(path), "rb") as file:
                self._read(file)
        except FileNotFoundError:
            self._read(io.BytesIO())

    def _take(self, line: Any, place: int) -> None:
        """Keep what is wanted of a line, old or new, which begins at that byte of the file.

        Raises ValueError if it holds no result.
        """
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, so that others can write to it."""
        if self._lock is not None:
            self._lock.close()
            self._lock, self._digest = None, None

    def add(self, results: Iterable[dict[str, Any]]) -> None:
        """Add results; when it returns, the operating system has them.

        Parameters
        ----------
        results : iterable of dict
            A line of JSON each.

        Raises
        ------
        ConfigError
            If another process writes to the file, or what one wrote since it was read is refused.
        OSError
            If it cannot be written. It names the file, in which no result is lost.
        ValueError
            If a line is no result that such a file holds.
        """
        results = list(results)
        file = self._locked()
        lines = [] if self._end else [_line(self._header)]
        before = len(lines)
        lines += map(_line, results)
        places = [*itertools.accumulate(map(len, lines), initial=self._end)]
        if self._is_unfinished:
            file.truncate(self._end)
        self._is_unfinished = True  # if the disk is full in the middle of a line
        self._end += file.write(b"".join(lines))
        self._is_unfinished = False
        for result, place in zip(results, places[before:], strict=False):
            self._take(result, place)

    def _locked(self) -> LockedFile:
        """The file, of which nobody else is a writer, and whose content is known."""
        if self._lock is None:
            lock = LockedFile(self.path)
            try:
                with lock.reading() as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                    if digest != self._digest:  # another process was faster
                        file.seek(0)
                        self._read(file)
            except BaseException:
                lock.close()
                raise
            self._lock, self._digest = lock, None
        return self._lock

    def _read(self, file: IO[bytes]) -> None:
        """Take what the file holds, line by line, and note where its last whole one ends."""
        first = file.readline()
        digest = hashlib.sha256(first)
        self._end, self._is_unfinished = 0, False
        if not first.endswith(b"\n"):  # new, or the process ended before the first line did
            if not _line(self._header).startswith(first):
                raise self._not_ours()
            self._is_unfinished = bool(first)
        else:
            self._check_header(first)
            self._end = len(first)
            for number, line in enumerate(file, start=2):
                digest.update(line)
                if not line.endswith(b"\n"):
                    self._is_unfinished = True
                    break
                self._take_line(number, line)
                self._end += len(line)
        self._digest = digest.hexdigest()

    def _take_line(self, number: int, line: bytes) -> None:
        try:
            self._take(parse_json(line), self._end)
        except ValueError as error:
            raise ConfigError(
                f"{self.path}: line {number} is damaged ({excerpt(error)}); expected "
                f"{self._words.line}: remove the line, and the picture is looked at again"
            ) from None

    def _check_header(self, line: bytes) -> None:
        try:
            found = parse_json(line)
        except ValueError:
            raise self._not_ours() from None
        if not isinstance(found, dict) or found.keys() != self._header.keys():
            raise self._not_ours()
        for name, expected in self._header.items():
            if not is_same(found[name], expected):
                name, before, now = difference(name, found[name], expected)
                raise ConfigError(
                    f"{self.path}: {name} was {before} and is {now} now; expected the same: "
                    "take another file for these results"
                )

    def _not_ours(self) -> ConfigError:
        return ConfigError(
            f"{self.path}: not {self._words.content}; expected a new file, or one that "
            f"`{self._words.command}` wrote"
        )


def is_same(found: object, expected: object) -> bool:
    """Whether both are the same in JSON, where true is not 1."""
    return json.dumps(found, sort_keys=True) == json.dumps(expected, sort_keys=True)


def _line(values: dict[str, Any]) -> bytes:
    return json.dumps(values).encode() + b"\n"  # ASCII: names of files need not be Unicode


def difference(name: str, first: object, second: object) -> tuple[str, str, str]:
    """The first thing that differs between two values of JSON: its name, and what it is in both."""
    if isinstance(first, dict) and isinstance(second, dict):
        keys = (key for key in [*second, *first] if not is_same(first.get(key), second.get(key)))
        key = next(keys)
        return difference(f"{name}[{key!r}]", first.get(key), second.get(key))
    return excerpt(name), excerpt(json.dumps(first)), excerpt(json.dumps(second))
