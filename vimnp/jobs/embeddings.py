"""Features of pictures in a file: NumPy's own beside the pictures' names, or Parquet.

``features.npy`` is a float32 matrix with a row for each picture, for NumPy and all that reads its
files. ``features.npy.jsonl`` beside it names the pictures in the order of these rows: its first
line is an object with the digest of the matrix's file and what the features depend on, each other
one ``{"file": "a.png", "error": null}``. ``features.parquet`` has all that in one file: columns
``file``, ``features`` (a list of so many floats) and ``error``, and the settings as JSON under the
key ``vimnp`` of the schema's metadata. A picture that could not be read has its row: its numbers
are NaN, in Parquet null.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import IO, Any, NamedTuple, TypeAlias

import numpy as np

from vimnp.errors import ConfigError, excerpt
from vimnp.jobs.parquet import as_unicode, import_pyarrow
from vimnp.storage.files import open_regular, whole_file
from vimnp.storage.json_text import parse_json
from vimnp.weights.npy_header import HEADER_LIMIT, parse_header

EMBEDDINGS_VERSION = 1

_NAMES = ".jsonl"

_STORED = np.dtype("<f4")
_OTHERS = ".npy"  # beside Parquet
_KEY = b"vimnp"

_Files: TypeAlias = Sequence[tuple[str, str | None]]
_Vectors: TypeAlias = Iterable[np.ndarray | None]


class Embeddings(NamedTuple):
    """Pictures and their features.

    Parameters
    ----------
    features : ndarray of float32, shape (pictures, dim)
        NaN of those that have none. It may lie in the file, and not in memory.
    files : tuple of str
    errors : tuple of str or None
    settings : dict
        What the features depend on; values as JSON has them.
    """

    features: np.ndarray
    files: tuple[str, ...]
    errors: tuple[str | None, ...]
    settings: dict[str, Any]


def expect_embeddings(path: str | os.PathLike[str]) -> None:
    """Make sure that the name is one of such a file, and what it takes is installed.

    Raises
    ------
    ConfigError
        If it ends in neither ``.npy`` nor ``.parquet``, or pyarrow is missing.
    """
    if _format_of(path) is _PARQUET:
        import_pyarrow(_OTHERS)


def names_of(path: str | os.PathLike[str]) -> str:
    """The file that has the names of the pictures, and why some have no features."""
    path = os.fspath(path)
    return f"{path}{_NAMES}" if _format_of(path) is _NPY else path


def write_embeddings(
    path: str | os.PathLike[str],
    dim: int,
    files: _Files,
    vectors: _Vectors,
    settings: dict[str, Any],
) -> None:
    """Write features, whole or not at all.

    Parameters
    ----------
    path : path-like
    dim : int
        How many a picture has.
    files : sequence of (str, str or None)
        The pictures, and why one has no features.
    vectors : iterable of (ndarray of float32, shape (dim,)) or None
        In the order of the files.
    settings : dict
        What the features depend on; values as JSON has them.

    Raises
    ------
    ConfigError
        As from :func:`expect_embeddings`, or if a file's name is no Unicode and the table is
        Parquet.
    OSError
        If a file cannot be written.
    """
    _format_of(path).write(path, dim, files, vectors, settings)


def read_embeddings(path: str | os.PathLike[str]) -> Embeddings:
    """Read what :func:`write_embeddings` wrote.

    Raises
    ------
    ConfigError
        If the file's name ends in neither ``.npy`` nor ``.parquet``, it holds something else or
        is damaged, the names of the pictures are those of another ``.npy``, or pyarrow is missing.
    OSError
        If a file cannot be read, or is no regular file.
    """
    return _format_of(path).read(path)


class _Format(NamedTuple):
    write: Callable[[Any, int, _Files, _Vectors, dict[str, Any]], None]
    read: Callable[[Any], Embeddings]


def _format_of(path: str | os.PathLike[str]) -> _Format:
    ending = os.path.splitext(os.fspath(path))[1].lower()
    found = _FORMATS.get(ending)
    if found is None:
        raise ConfigError(
            f"{os.fspath(path)}: ends in {ending or 'nothing'!r}; expected the name of a table of "
            f"features, which ends in {' or '.join(_FORMATS)}"
        )
    return found


# ---- A .npy file, and names beside it ------------------------------------------------------------


class _Digested:
    """A file that is written to, and the digest of what was."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._digest = file, hashlib.sha256()

    def write(self, data: bytes) -> int:
        self._digest.update(data)
        return self._file.write(data)

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


def _write_npy(
    path: str | os.PathLike[str],
    dim: int,
    files: _Files,
    vectors: _Vectors,
    settings: dict[str, Any],
) -> None:
    """The matrix comes first: names that are not its own, but of one before it, are noticed."""
    layout = {"descr": _STORED.str, "fortran_order": False, "shape": (len(files), dim)}
    with whole_file(path) as file:
        digested: Any = _Digested(file)
        np.lib.format.write_array_header_1_0(digested, layout)
        for row in _rows(vectors, dim):
            digested.write(row.tobytes())
    head = {
        "vimnp_embeddings": EMBEDDINGS_VERSION,
        "features_sha256": digested.hexdigest(),
        "settings": settings,
    }
    with whole_file(names_of(path)) as file:
        file.write(json.dumps(head).encode() + b"\n")  # ASCII: names need not be Unicode
        for name, error in files:
            file.write(json.dumps({"file": name, "error": error}).encode() + b"\n")


def _rows(vectors: _Vectors, dim: int) -> Iterator[np.ndarray]:
    missing = np.full(dim, np.nan, _STORED)
    for vector in vectors:
        yield missing if vector is None else vector.astype(_STORED, copy=False)


def _read_npy(path: str | os.PathLike[str]) -> Embeddings:
    with open(open_regular(path), "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        files, errors, settings = _read_names(path, digest)
        features = _mapped(path, file, len(files))
    return Embeddings(features, files, errors, settings)


def _read_names(
    path: str | os.PathLike[str], digest: str
) -> tuple[tuple[str, ...], tuple[str | None, ...], dict[str, Any]]:
    """The names beside a matrix whose file has this digest, and what its features depend on."""
    names = names_of(path)
    try:
        with open(open_regular(names), "rb") as file:
            lines = file.read().split(b"\n")
    except FileNotFoundError:
        raise ConfigError(
            f"{names}: is missing, which names the pictures of {os.fspath(path)}; expected both "
            "files that `vimnp embed` wrote"
        ) from None
    try:
        if lines.pop() or not lines:
            raise ValueError("its last line does not end")
        head, *rows = map(parse_json, lines)
        settings = _settings(head)
        files, errors = _named(rows)
    except ValueError as error:
        raise _damaged(names, error) from None
    if head.get("features_sha256") != digest:
        raise ConfigError(
            f"{names}: names the pictures of another matrix than the one in {os.fspath(path)}; "
            "expected both files of one `vimnp embed`: run it again"
        )
    return files, errors, settings


def _mapped(path: str | os.PathLike[str], file: IO[bytes], pictures: int) -> np.ndarray:
    """The matrix in an open file, which is read where it is looked at."""
    file.seek(0)
    try:
        shape, is_fortran, dtype, offset = parse_header(file.read(HEADER_LIMIT))
    except Exception as error:  # NumPy's parser raises many kinds
        raise _damaged(path, f"no readable .npy header ({excerpt(error)})") from None
    if is_fortran or dtype != _STORED or len(shape) != 2 or shape[0] != pictures:
        raise _damaged(path, f"no matrix of float32 with a row for each of {pictures:,} pictures")
    if file.seek(0, os.SEEK_END) != offset + math.prod(shape) * dtype.itemsize:
        raise _damaged(path, f"of another length than {shape} numbers have")
    if not math.prod(shape):
        return np.empty(shape, dtype)
    return np.memmap(file, dtype, "r", offset, shape)


def _named(rows: Sequence[Any]) -> tuple[tuple[str, ...], tuple[str | None, ...]]:
    for row in rows:
        match row:
            case {"file": str(), "error": None | str()}:
                continue
        raise ValueError("a line names no picture")
    return tuple(row["file"] for row in rows), tuple(row["error"] for row in rows)


def _settings(head: Any) -> dict[str, Any]:
    match head:
        case {"vimnp_embeddings": version, "settings": dict(settings)} if (
            version == EMBEDDINGS_VERSION
        ):
            return settings
    raise ValueError("it does not say what the features depend on")


# ---- Parquet -------------------------------------------------------------------------------------


def _write_parquet(
    path: str | os.PathLike[str],
    dim: int,
    files: _Files,
    vectors: _Vectors,
    settings: dict[str, Any],
) -> None:
    pyarrow, parquet = import_pyarrow(_OTHERS)
    numbers = np.empty((len(files), dim), np.float32)
    for place, row in enumerate(_rows(vectors, dim)):
        numbers[place] = row
    is_missing = pyarrow.array([error is not None for _, error in files], pyarrow.bool_())
    flat = pyarrow.array(numbers.reshape(-1), pyarrow.float32())
    features = pyarrow.FixedSizeListArray.from_arrays(flat, dim, mask=is_missing)

    def strings(place: int) -> Any:
        return pyarrow.array([each[place] for each in files], pyarrow.string())

    columns = as_unicode(lambda: [strings(0), features, strings(1)], _OTHERS)
    head = {"vimnp_embeddings": EMBEDDINGS_VERSION, "settings": settings}
    table = pyarrow.table(columns, names=["file", "features", "error"])
    table = table.replace_schema_metadata({_KEY: json.dumps(head).encode()})
    with whole_file(path) as file:
        parquet.write_table(table, file)


def _read_parquet(path: str | os.PathLike[str]) -> Embeddings:
    pyarrow, parquet = import_pyarrow(_OTHERS)
    with open(open_regular(path), "rb") as file:
        try:
            table = parquet.read_table(file)
            head = parse_json((table.schema.metadata or {}).get(_KEY, b"null"))
            settings = _settings(head)
            files, column, errors = (table[name] for name in ("file", "features", "error"))
            dim = column.type.list_size
            features = np.full((len(files), dim), np.nan, np.float32)
            is_there = column.is_valid().to_numpy()
            numbers = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
            if numbers:
                features[is_there] = np.concatenate(numbers).reshape(-1, dim)
            found, named = tuple(files.to_pylist()), tuple(errors.to_pylist())
            is_named = all(isinstance(name, str) for name in found)
            if column.type.value_type != pyarrow.float32() or not is_named:
                raise ValueError("its columns are of other types")
        except Exception as error:  # pyarrow raises many kinds, OSError for a damaged page too
            raise _damaged(path, error) from None
    return Embeddings(features, found, named, settings)


def _damaged(path: str | os.PathLike[str], reason: object) -> ConfigError:
    return ConfigError(
        f"{os.fspath(path)}: {excerpt(reason)}; expected features that `vimnp embed` wrote"
    )


_NPY = _Format(_write_npy, _read_npy)
_PARQUET = _Format(_write_parquet, _read_parquet)
_FORMATS = {".npy": _NPY, ".parquet": _PARQUET}
