"""An opened file of weights: what the readers of all formats share."""

from __future__ import annotations

import abc
import hashlib
import io
import math
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import EllipsisType, MappingProxyType
from typing import Self

import numpy as np

from vimnp.convert.formats.naming import quoted
from vimnp.convert.formats.tensors import StorageType
from vimnp.errors import CheckpointError
from vimnp.storage.archive import BoundedReader
from vimnp.storage.files import open_regular
from vimnp.weights.writing import Rows

Selection = slice | EllipsisType
"""Rows of a tensor from one to another, or with an Ellipsis all that there is."""

_AT_ONCE = 1 << 20  # numbers that are compared together

SAVE_AGAIN = "load it with torch and write it again with torch.save"
FETCH_AGAIN = "fetch the file again"

# First bytes of what people hold in place of weights, and what to do about it.
_OTHER_FILES = (
    (
        b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19",  # its magic number, pickled
        f"torch's legacy format from before version 1.6; {SAVE_AGAIN}",
    ),
    (b"version https://git-lfs", "a Git LFS pointer; fetch the file that it stands for"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x1f\x8b", "a gzip file; unpack it first"),
)


_WEB_PAGE = re.compile(rb"\s*<[!?a-z]", re.IGNORECASE)


def is_safetensors(start: bytes) -> bool:
    """Whether a file begins with the length of a header, of less than 4 GB, and one in JSON."""
    return start[4:9] == b"\0\0\0\0{"


class Source(abc.ABC):
    """Weights that were opened and found sound, in a file or in several.

    Attributes
    ----------
    path : Path
        The file, for messages.
    shapes : dict of str to tuple of int
        Shape of every tensor by its name in the state dict.
    training : mapping
        The training's configuration, where a training dump has it as a nest of dicts.
    """

    path: Path
    shapes: dict[str, tuple[int, ...]]
    training: Mapping[object, object] = MappingProxyType({})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def read(self, name: str) -> np.ndarray:
        """Read one tensor.

        Parameters
        ----------
        name : str
            One of ``shapes``.

        Returns
        -------
        ndarray of float32, C-contiguous
            Half, bfloat16 and double are converted.

        Raises
        ------
        CheckpointError
            If the bytes are damaged, the tensor holds no floating-point numbers, or a double is too
            large for float32.
        """
        return self.read_rows(name, ...)

    @property
    def files(self) -> list[Path]:
        """All files that are read."""
        return [self.path]

    def rows(self, name: str) -> Rows:
        """One tensor, to be read some rows at a time as :meth:`read` would."""

        def read(begin: int, end: int) -> np.ndarray:
            return self.read_rows(name, slice(begin, end))

        return Rows(self.shapes[name], read)

    def is_same(self, name: str, other: str) -> bool:
        """Whether two tensors hold the same numbers; no more than one of them is in memory."""
        if self.shapes[name] != self.shapes[other] or not self.shapes[name]:
            return False
        return self._digest(name) == self._digest(other)

    def _digest(self, name: str) -> bytes:
        digest = hashlib.sha256()
        length, width = self.shapes[name][0], math.prod(self.shapes[name][1:])
        step = max(1, _AT_ONCE // max(width, 1))
        for begin in range(0, length, step):
            digest.update(self.read_rows(name, slice(begin, begin + step)).data)
        self.forget()
        return digest.digest()

    def reading_order(self, names: Iterable[str]) -> list[str]:
        """The order in which these tensors are read with the least work."""
        return list(names)

    @abc.abstractmethod
    def forget(self) -> None:
        """Drop what is kept in memory for the next read."""

    @abc.abstractmethod
    def read_rows(self, name: str, rows: Selection) -> np.ndarray:
        """Read some rows of a tensor, or with an Ellipsis all of it, as :meth:`read` does."""

    @abc.abstractmethod
    def sha256(self) -> str:
        """SHA-256 of the whole file, in hexadecimal; of several, of one behind the other."""

    @abc.abstractmethod
    def close(self) -> None:
        """Close all that is open."""


class SourceFile(Source):
    """A file of weights that was opened and found sound; tensors are read one at a time.

    Use as a context manager::

        with Checkpoint("vim_tiny.pth") as checkpoint:
            weight = checkpoint.read("head.weight")

    Parameters
    ----------
    path : path-like

    Attributes
    ----------
    path : Path
    shapes : dict of str to tuple of int
        Shape of every tensor by its name in the state dict.

    Raises
    ------
    CheckpointError
        If the file cannot be opened or is not sound.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._file = self._open()
        try:
            self._refuse_other_files()
            self.shapes = self._describe()
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        self._file.close()

    def forget(self) -> None:
        """Nothing is kept, unless a format says so."""

    def read_rows(self, name: str, rows: Selection) -> np.ndarray:
        kind = self._storage_type(name)
        if not kind.is_floating:
            raise self._error(
                f"{quoted(name)}: is stored as {kind.name}; expected floating point of 16, 32 or "
                "64 bits"
            )
        try:
            return _to_float32(self._read_stored(name, rows), kind)
        except FloatingPointError:
            raise self._error(
                f"{quoted(name)}: holds a double too large for float32; expected smaller weights"
            ) from None

    def sha256(self) -> str:
        self._file.seek(0)
        return hashlib.file_digest(self._file, "sha256").hexdigest()

    @abc.abstractmethod
    def _describe(self) -> dict[str, tuple[int, ...]]:
        """Check the file; the shapes of its tensors."""

    @abc.abstractmethod
    def _storage_type(self, name: str) -> StorageType:
        """How a tensor's numbers are stored."""

    @abc.abstractmethod
    def _read_stored(self, name: str, rows: Selection) -> np.ndarray:
        """Some rows as they are stored, in the dtype of the tensor's storage type."""

    def _open(self) -> BoundedReader:
        try:
            return BoundedReader(io.FileIO(open_regular(self.path)))
        except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
            reason = getattr(error, "strerror", None) or error
            raise CheckpointError(f"{self.path}: cannot be opened: {reason}") from None

    def _refuse_other_files(self) -> None:
        start = self._read_start()
        if is_safetensors(start):  # the length of whose header may be any of these
            return
        for magic, what in _OTHER_FILES:
            if start.startswith(magic):
                raise self._error(what)
        if _WEB_PAGE.match(start):
            raise self._error(f"a web page, not the file that was asked for; {FETCH_AGAIN}")

    def _read_start(self) -> bytes:
        """The first 32 bytes, by which formats can be told."""
        self._file.seek(0)
        return self._file.read(32)

    def _error(self, problem: str) -> CheckpointError:
        return CheckpointError(f"{self.path}: {problem}")


def _to_float32(values: np.ndarray, kind: StorageType) -> np.ndarray:
    """Copy stored values, C-contiguous; FloatingPointError if one overflows."""
    if kind.is_bfloat16:  # the upper half of a float32
        bits = values.astype(np.uint32, order="C")
        bits <<= 16
        return bits.view(np.float32)
    with np.errstate(over="raise", invalid="ignore"):
        return values.astype(np.float32, order="C")
