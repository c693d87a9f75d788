"""A state in a file: an ``.npz`` that is read without trust, as weights files are.

Its members are stored as they are: ``state.json`` with the version of the format, the digest of the
weights and the number of ids of each row; ``ids.npy``, all rows' one after the other; and
``conv.npy`` and ``ssm.npy``, (batch, n_layer, ...) each.
"""

from __future__ import annotations

import io
import itertools
import json
import math
import os
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.lib import format as npy_format

from vimnp.errors import StateError, excerpt
from vimnp.storage.archive import Archive, BoundedReader, MemberError
from vimnp.storage.files import open_regular, whole_file
from vimnp.storage.json_text import parse_json
from vimnp.weights.npy_header import HEADER_LIMIT, parse_header

FORMAT_VERSION = 1

_ABOUT = "state.json"
_MEMBERS = (_ABOUT, "ids.npy", "conv.npy", "ssm.npy")
_FLOAT, _ID = np.dtype("<f4"), np.dtype("<i4")
_DIRECTORY_LIMIT = 1 << 12  # bytes; ours takes three hundred
_ABOUT_LIMIT = 1 << 20  # bytes; a row takes ten
_EXCERPT = 100  # characters of what a file says of itself, in a message
_MENDING = "give the ids to a new state (model.new_state()), and save that"


class Stored(NamedTuple):
    """What a file holds.

    Parameters
    ----------
    digest : str
        Of the weights.
    ids : list of list of int
        Of each row.
    conv, ssm : ndarray of float32, shape (batch, n_layer, ...)
    """

    digest: str
    ids: list[list[int]]
    conv: np.ndarray
    ssm: np.ndarray


def write_state(path: str | os.PathLike[str], stored: Stored) -> int:
    """Write a file, whole or not at all; returns its size in bytes. Raises OSError."""
    about = {
        "format_version": FORMAT_VERSION,
        "digest": stored.digest,
        "lengths": [len(row) for row in stored.ids],
    }
    ids = np.fromiter(itertools.chain.from_iterable(stored.ids), _ID)
    with whole_file(path) as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            # A ZipInfo of our own has a fixed date: the same state gives the same bytes.
            archive.writestr(zipfile.ZipInfo(_ABOUT), json.dumps(about))
            for name, array in (("ids", ids), ("conv", stored.conv), ("ssm", stored.ssm)):
                dtype = _ID if name == "ids" else _FLOAT
                with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w") as member:
                    as_stored = np.ascontiguousarray(array, dtype)
                    npy_format.write_array(member, as_stored, version=(1, 0), allow_pickle=False)
        return file.seek(0, os.SEEK_END)


def read_state(
    path: str | os.PathLike[str],
    shapes: tuple[tuple[int, ...], tuple[int, ...]],
    *,
    digest: str,
    num_ids: int,
) -> Stored:
    """Read a file.

    Parameters
    ----------
    path : path-like
    shapes : two tuples of int
        Of a row's conv and ssm.
    digest : str
        Of the weights that the state is to be of.
    num_ids : int
        Tokens that there are: the ids are smaller.

    Raises
    ------
    StateError
        If it is missing, damaged, hostile, or of other weights.
    """
    path = Path(path)
    try:
        file = BoundedReader(io.FileIO(open_regular(path)))
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        raise StateError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    with file:
        return _Reader(path, file).stored(shapes, digest, num_ids)


class _Reader:
    """Reads members whose bytes are held against what they have to be before they are read."""

    def __init__(self, path: Path, file: BoundedReader) -> None:
        self._path = path
        try:
            self._archive = Archive(file, _DIRECTORY_LIMIT)
        except MemberError as error:
            raise self._error(error.member, f"{error.problem}; {_MENDING}") from None
        except Exception as error:  # zipfile raises many kinds on damaged bytes
            raise StateError(
                f"{path}: not a complete file of a state ({excerpt(error)}); {_MENDING}"
            ) from None

    def stored(
        self, shapes: tuple[tuple[int, ...], tuple[int, ...]], digest: str, num_ids: int
    ) -> Stored:
        if set(self._archive.members) != set(_MEMBERS):
            raise StateError(
                f"{self._path}: its members are not those of a state; expected "
                f"{', '.join(_MEMBERS)}: take what state.save(path) has written"
            )
        lengths = self._about(digest)
        conv, ssm = (
            self._array(name, _FLOAT, (len(lengths), *shape))
            for name, shape in zip(("conv", "ssm"), shapes, strict=True)
        )
        for name, array in (("conv", conv), ("ssm", ssm)):
            if not np.isfinite(array).all():
                raise self._error(f"{name}.npy", "holds NaN or infinity; expected finite numbers")
        ids = self._array("ids", _ID, (sum(lengths),))
        if ids.size and not 0 <= ids.min() <= ids.max() < num_ids:
            raise self._error("ids.npy", f"holds ids that are not from 0 to {num_ids - 1}")
        ends = itertools.accumulate(lengths)
        rows = [ids[end - n : end].tolist() for n, end in zip(lengths, ends, strict=True)]
        return Stored(digest, rows, conv, ssm)

    def _about(self, digest: str) -> list[int]:
        """The lengths of the rows, where format and weights are the right ones."""
        if self._archive.members[_ABOUT].file_size > _ABOUT_LIMIT:
            raise self._error(_ABOUT, f"longer than {_ABOUT_LIMIT} bytes")
        text = self._bytes(_ABOUT)
        try:
            about = parse_json(text)
        except ValueError as error:
            raise self._error(_ABOUT, f"not JSON ({excerpt(error)}); {_MENDING}") from None
        if not isinstance(about, dict):
            raise self._error(_ABOUT, f"not a JSON object; {_MENDING}")
        version = about.get("format_version")
        if type(version) is not int or version != FORMAT_VERSION:
            raise self._error(
                _ABOUT,
                f"format_version is {_in_words(version)}; this vimnp reads version "
                f"{FORMAT_VERSION}: {_MENDING}",
            )
        if about.get("digest") != digest:
            raise StateError(
                f"{self._path}: a state of other weights ({_in_words(about.get('digest'))}); "
                f"expected one of these ({digest!r}): {_MENDING}"
            )
        lengths = about.get("lengths")
        if not isinstance(lengths, list) or not all(_is_length(length) for length in lengths):
            raise self._error(_ABOUT, "lengths is no list of whole numbers")
        if not lengths:
            raise self._error(_ABOUT, "there are no rows; expected one or more")
        return lengths

    def _array(self, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> np.ndarray:
        member = f"{name}.npy"
        start = self._bytes(member, HEADER_LIMIT)
        try:
            found = parse_header(start)
        except Exception as error:  # NumPy's parser raises many kinds
            raise self._error(member, f"no readable .npy header ({excerpt(error)})") from None
        for what, is_there, should_be in zip(
            ("shape", "Fortran order", "dtype"), found, (shape, False, dtype), strict=False
        ):
            if is_there != should_be:
                expected = _in_words(should_be)
                raise self._error(member, f"{what} {_in_words(is_there)}; expected {expected}")
        size = math.prod(shape) * dtype.itemsize
        if self._archive.members[member].file_size != found[3] + size:
            raise self._error(member, f"of another length than {found[3] + size} bytes")
        data = self._bytes(member)
        return np.frombuffer(data, dtype, offset=found[3]).reshape(shape)

    def _bytes(self, member: str, size: int = -1) -> bytes:
        try:
            return self._archive.read(member, size)
        except MemberError as error:
            raise self._error(member, f"{error.problem}; {_MENDING}") from None

    def _error(self, member: str, problem: str) -> StateError:
        return StateError(f"{self._path}: {excerpt(member)}: {problem}")


def _is_length(value: object) -> bool:
    return type(value) is int and value >= 0


def _in_words(value: object) -> str:
    """Of a file, fit for a message."""
    return excerpt(repr(value), _EXCERPT)
