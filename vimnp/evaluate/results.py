"""Results of an evaluation in a file, so that an interrupted one can go on."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from vimnp.errors import ConfigError, excerpt
from vimnp.evaluate.image_folder import Sample
from vimnp.storage.files import open_regular
from vimnp.storage.json_text import parse_json
from vimnp.storage.locked_file import LockedFile

RESULTS_VERSION = 1

Outcome: TypeAlias = int | str
"""The true class's rank (0: the network's first choice), or why the picture cannot be read."""


class ResultsFile:
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
    Only one process, and one object of it, writes to a file: the first :meth:`append` locks it
    until :meth:`close`, the end of a ``with`` block, or the object's end.
    """

    def __init__(
        self, path: str | os.PathLike[str], settings: dict[str, Any], classes: dict[str, int]
    ) -> None:
        self.path = Path(path)
        self.ranks: dict[str, int] = {}
        self._header = {"vimnp_eval": RESULTS_VERSION, **settings, "classes": classes}
        self._lock: LockedFile | None = None
        content = b""
        with contextlib.suppress(FileNotFoundError), open(open_regular(path), "rb") as file:
            content = file.read()
        self._seen: bytes | None = content  # until the file is locked
        self._end = self._read(content)
        self._is_unfinished = self._end < len(content)

    def __enter__(self) -> ResultsFile:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Let others write to the file."""
        if self._lock is not None:
            self._lock.close()
            self._lock, self._seen = None, None

    def append(self, outcomes: Mapping[Sample, Outcome]) -> None:
        """Add pictures; when it returns, the operating system has them.

        Raises
        ------
        ConfigError
            If another process writes to the file, or what one wrote since it was read is refused.
        OSError
            If it cannot be written. It names the file, in which no picture is lost.
        """
        file = self._locked()
        lines = [] if self._end else [_line(self._header)]
        for (path, target), outcome in outcomes.items():
            kind = "rank" if isinstance(outcome, int) else "error"
            lines.append(_line({"file": path, "class": target, kind: outcome}))
        if self._is_unfinished:
            file.truncate(self._end)
        self._is_unfinished = True  # if the disk is full in the middle of a line
        self._end += file.write(b"".join(lines))
        self._is_unfinished = False
        self.ranks |= {s.path: rank for s, rank in outcomes.items() if isinstance(rank, int)}

    def _locked(self) -> LockedFile:
        """The file, of which nobody else is a writer, and whose content is known."""
        if self._lock is None:
            lock = LockedFile(self.path)
            try:
                content = lock.read()
                if content != self._seen:  # another process was faster
                    self._end = self._read(content)
                    self._is_unfinished = self._end < len(content)
            except BaseException:
                lock.close()
                raise
            self._lock, self._seen = lock, None
        return self._lock

    def _read(self, content: bytes) -> int:
        """Take the ranks from what the file holds; returns where its last whole line ends."""
        first, *others = content.split(b"\n")
        if not others:  # new, or the process ended before the first line did
            if not _line(self._header).startswith(first):
                raise self._not_ours()
            return 0
        self._check_header(first)
        unfinished = others.pop()
        for number, line in enumerate(others, start=2):
            try:
                self._read_line(line)
            except ValueError as error:
                raise ConfigError(
                    f"{self.path}: line {number} is damaged ({excerpt(error)}); expected a "
                    "picture's rank: remove the line, and the picture is looked at again"
                ) from None
        return len(content) - len(unfinished)

    def _check_header(self, line: bytes) -> None:
        try:
            found = parse_json(line)
        except ValueError:
            raise self._not_ours() from None
        if not isinstance(found, dict) or found.keys() != self._header.keys():
            raise self._not_ours()
        for name, expected in self._header.items():
            if not _is_same(found[name], expected):
                raise ConfigError(
                    f"{self.path}: {_difference(name, found[name], expected)}; expected the same: "
                    "take another file for these results"
                )

    def _read_line(self, line: bytes) -> None:
        match parse_json(line):
            case {"file": str(path), "class": int(target), "rank": int(rank)} if (
                rank >= 0 and type(rank) is int
            ):
                self.ranks[path] = rank
            case {"file": str(path), "class": int(target), "error": str()}:
                pass  # the picture is tried again
            case _:
                raise ValueError("neither a rank nor an error")
        if not _is_same(target, self._header["classes"].get(path.split("/")[0])):
            raise ValueError(f"class {target} is not that of the folder")

    def _not_ours(self) -> ConfigError:
        return ConfigError(
            f"{self.path}: not results of an evaluation; expected a new file, or one that "
            "`vimnp eval` wrote"
        )


def _line(values: dict[str, Any]) -> bytes:
    return json.dumps(values).encode() + b"\n"  # ASCII: names of files need not be Unicode


def _is_same(found: object, expected: object) -> bool:
    """Whether both are the same in JSON, where true is not 1."""
    return json.dumps(found, sort_keys=True) == json.dumps(expected, sort_keys=True)


def _difference(name: str, found: object, expected: object) -> str:
    """What differs between two runs, in a few words."""
    if isinstance(found, dict) and isinstance(expected, dict):
        keys = (
            key for key in [*expected, *found] if not _is_same(found.get(key), expected.get(key))
        )
        key = next(keys)
        return _difference(f"{name}[{key!r}]", found.get(key), expected.get(key))
    before, now = (excerpt(json.dumps(value)) for value in (found, expected))
    return f"{excerpt(name)} was {before} and is {now} now"
