"""Weights in several files, and the index that tells which tensor lies in which of them."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from vimnp.convert.formats.naming import listing, quoted
from vimnp.convert.formats.side_file import parse_side_file, read_side_file
from vimnp.convert.formats.source import FETCH_AGAIN, Selection, Source
from vimnp.convert.formats.state_dict import without_wrappers
from vimnp.errors import CheckpointError

_INDEX_LIMIT = 4 << 20  # bytes; that of a network of 64 layers takes 60 thousand
_MOST_SHARDS = 256  # each is an open file
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}", re.ASCII)  # of no other folder
_PIECE = 1 << 20  # bytes that are hashed together


class Shards(Source):
    """The files of an index, opened and found sound.

    Parameters
    ----------
    path : Path
        The index, such as ``model.safetensors.index.json``. Its files lie in the same folder.
    open_file : callable
        Opens a file by its path.

    Raises
    ------
    CheckpointError
        If the index is not sound, a file is missing or not sound, or one lacks a tensor that the
        index has there.
    """

    def __init__(self, path: Path, open_file: Callable[[Path], Source]) -> None:
        self.path = path
        places = self._read_index()
        self._files: dict[str, Source] = {}
        self._last_read: Source | None = None
        with contextlib.ExitStack() as opened:
            for name in sorted(set(places.values())):
                shard = path.parent / name
                if not shard.exists():
                    raise self._error(f"its file {quoted(name)} is missing; fetch that, too")
                self._files[name] = opened.enter_context(open_file(shard))
            self._places = {name: self._files[there] for name, there in places.items()}
            for name, file in self._places.items():
                if name not in file.shapes:
                    raise self._error(
                        f"{quoted(name)} is not in {quoted(places[name])}, where the index has it; "
                        f"{FETCH_AGAIN}"
                    )
            self.shapes = {name: file.shapes[name] for name, file in self._places.items()}
            self._opened = opened.pop_all()

    @property
    def files(self) -> list[Path]:
        return [self.path, *(file.path for file in self._files.values())]

    def close(self) -> None:
        self._opened.close()

    def read_rows(self, name: str, rows: Selection) -> np.ndarray:
        file = self._places[name]
        if self._last_read not in (None, file):
            self.forget()
        self._last_read = file
        return file.read_rows(name, rows)

    def is_same(self, name: str, other: str) -> bool:
        file = self._places[name]
        if file is self._places[other]:
            return file.is_same(name, other)
        return super().is_same(name, other)

    def reading_order(self, names: Iterable[str]) -> list[str]:
        """File by file."""
        names = list(names)
        return [
            name
            for file in self._files.values()
            for name in file.reading_order(n for n in names if self._places[n] is file)
        ]

    def forget(self) -> None:
        if self._last_read is not None:
            self._last_read.forget()
            self._last_read = None

    def sha256(self) -> str:
        digest = hashlib.sha256()
        for file in self._files.values():
            with open(file.path, "rb") as content:
                while piece := content.read(_PIECE):
                    digest.update(piece)
        return digest.hexdigest()

    def _read_index(self) -> dict[str, str]:
        """The file of each tensor, by the tensor's name in the state dict."""
        data = read_side_file(self.path, _INDEX_LIMIT)
        if data is None:
            raise self._error("cannot be opened: No such file or directory")
        places = parse_side_file(self.path, data).get("weight_map")
        if not isinstance(places, dict) or not places:
            raise self._error("has no 'weight_map'; expected one, from each tensor to its file")
        for name, there in places.items():
            if not isinstance(there, str) or not _FILE_NAME.fullmatch(there):
                raise self._error(
                    f"has {quoted(name)} in {quoted(there)}; expected the name of a file beside it"
                )
        files = set(places.values())
        if len(files) > _MOST_SHARDS:
            raise self._error(
                f"has {len(files)} files, {listing(sorted(files))}; expected at most {_MOST_SHARDS}"
            )
        return without_wrappers(places)

    def _error(self, problem: str) -> CheckpointError:
        return CheckpointError(f"{self.path}: {problem}")
