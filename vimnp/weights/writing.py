"""Write a weights file, whole or not at all."""

from __future__ import annotations

import contextlib
import math
import os
import struct
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import IO, NamedTuple

import numpy as np
from numpy.lib import format as npy_format

from vimnp.errors import WeightsError
from vimnp.storage.files import whole_file
from vimnp.weights.family import Tensor
from vimnp.weights.members import (
    ALIGNMENT,
    Member,
    is_encoded,
    matrix_shape,
    members_of,
    stored_dtype,
)
from vimnp.weights.metadata import METADATA, TOKENIZER, TOKENIZER_LIMIT, Metadata

_AT_ONCE = 1 << 20  # numbers of a tensor that are read and written together: 4 MB
_LOCAL_HEADER = 30  # bytes of a member's own header, before its name
_ZIP64_EXTRA = 20  # bytes that zipfile adds to it for a member of more than 2 GB
_PADDING = struct.Struct("<HHH")  # the record that zipalign pads with: its number, length, multiple
_PADDING_ID = 0xD935


class Rows(NamedTuple):
    """A tensor that is read some rows at a time, so that no more of it need be in memory.

    Parameters
    ----------
    shape : tuple of int
        Of the whole tensor.
    read : callable
        Takes the first row and the one behind the last; gives them in any floating dtype. Rows are
        asked for in order, each once.
    """

    shape: tuple[int, ...]
    read: Callable[[int, int], np.ndarray]


def write_weights(
    path: str | os.PathLike[str],
    metadata: Metadata,
    tensors: Iterable[tuple[str, np.ndarray | Rows]],
    *,
    tokenizer: bytes | None = None,
    smoothing: Mapping[str, np.ndarray] | None = None,
) -> int:
    """Write a weights file, whole or not at all.

    Parameters
    ----------
    path : path-like
        Where to; an existing file is replaced once the new one is complete. See
        :func:`vimnp.storage.files.whole_file` for links, devices and pipes.
    metadata : Metadata
        What the file says of itself; it tells which tensors there are, and how they are stored.
    tensors : iterable of (name, ndarray of any floating dtype, of the tensor's shape, or Rows)
        Every tensor of ``metadata.config.parameter_shapes()`` once, in any order and floating
        dtype. Taken one by one, so a generator keeps only one of them in memory.
    tokenizer : bytes, optional
        The content of ``tokenizer.json``, where the metadata say that there is one.
    smoothing : mapping of str to ndarray of float32, shape (inputs,), optional
        Where the metadata say that matrices are smoothed: what the inputs of each are multiplied
        by, from 2^-40 to 2^40, by the tensor's name.

    Returns
    -------
    int
        Size of the file in bytes.

    Raises
    ------
    WeightsError
        If a tensor is missing, unknown, repeated, of the wrong shape, not finite, or does not
        fit into the dtype; or if the tokenizer is missing, not expected or too long.
    OSError
        If the file cannot be written.
    """
    _check_tokenizer(metadata, tokenizer)
    with whole_file(path) as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            # A ZipInfo of our own has a fixed date: the same weights give the same bytes.
            archive.writestr(zipfile.ZipInfo(METADATA), metadata.to_json())
            if tokenizer is not None:
                archive.writestr(zipfile.ZipInfo(TOKENIZER), tokenizer)
            _write_tensors(_Archive(archive, file), metadata, tensors, smoothing or {})
        return file.seek(0, os.SEEK_END)


def _check_tokenizer(metadata: Metadata, tokenizer: bytes | None) -> None:
    if (tokenizer is not None) != (metadata.tokenizer == TOKENIZER):
        what = "missing" if tokenizer is None else "given"
        raise WeightsError(
            f"{TOKENIZER}: {what}, and the metadata's tokenizer is {metadata.tokenizer!r}"
        )
    if tokenizer is not None and len(tokenizer) > TOKENIZER_LIMIT:
        raise WeightsError(
            f"{TOKENIZER}: has {len(tokenizer)} bytes; expected at most {TOKENIZER_LIMIT}"
        )


def _write_tensors(
    archive: _Archive,
    metadata: Metadata,
    tensors: Iterable[tuple[str, np.ndarray | Rows]],
    smoothing: Mapping[str, np.ndarray],
) -> None:
    missing = metadata.config.tensors()
    for name, given in tensors:
        tensor = missing.pop(name, None)
        if tensor is None:
            raise WeightsError(f"{name}: not a tensor of this network, or given twice")
        if given.shape != tensor.shape:
            raise WeightsError(f"{name}: shape {given.shape}; expected {tensor.shape}")
        rows = given if isinstance(given, Rows) else _rows_of(given)
        _write_tensor(archive, name, tensor, rows, metadata, smoothing.get(name))
    if missing:
        raise WeightsError(f"{next(iter(missing))}: missing; expected {len(missing)} more tensors")


def _rows_of(array: np.ndarray) -> Rows:
    return Rows(array.shape, lambda begin, end: array[begin:end])


def _write_tensor(
    archive: _Archive,
    name: str,
    tensor: Tensor,
    rows: Rows,
    metadata: Metadata,
    smooth: np.ndarray | None,
) -> None:
    stored = stored_dtype(tensor, metadata.dtype)
    members = members_of(name, tensor, metadata.dtype, is_smoothed=metadata.is_smoothed)
    if is_encoded(stored):
        _write_encoded(archive, name, tensor, members, rows, stored, smooth)
        return
    (member,) = members
    with archive.array(member) as file:
        for part in _slices(name, rows, 1):
            file.write(_to_stored(name, part, member.dtype).data)


def _write_encoded(
    archive: _Archive,
    name: str,
    tensor: Tensor,
    members: list[Member],
    rows: Rows,
    dtype: str,
    smooth: np.ndarray | None,
) -> None:
    from vimnp.weights.encodings import PANEL, encode  # plain files need it not

    inputs = matrix_shape(tensor)[1]
    codes, *others = members
    if any(member.name.endswith(".smooth.npy") for member in others) == (smooth is None):
        what = "missing" if smooth is None else "given, and the metadata say that there is none"
        raise WeightsError(f"{name}: its smoothing is {what}")
    scales = []  # a zip's members are written one after another, and these are small
    with archive.array(codes) as file:
        for part in _slices(name, rows, PANEL):
            try:
                encoded = encode(dtype, part.reshape(-1, inputs), smooth)
            except WeightsError as error:
                raise WeightsError(f"{name}: {error}") from None
            file.write(encoded.codes.astype(codes.dtype, copy=False).data)
            scales.append(encoded.scales)
    for member, arrays in zip(others, (scales, [smooth]), strict=False):
        with archive.array(member) as file:
            for array in arrays:
                assert array is not None  # what has a member for them has them
                file.write(array.astype(member.dtype, copy=False).data)


def _slices(name: str, rows: Rows, together: int) -> Iterator[np.ndarray]:
    """A tensor's rows, about 4 MB at a time, in multiples of so many rows."""
    length, width = rows.shape[0], math.prod(rows.shape[1:])
    step = max(1, _AT_ONCE // (together * width)) * together
    for begin in range(0, length, step):
        part = rows.read(begin, min(begin + step, length))
        if not np.isfinite(part).all():
            raise WeightsError(f"{name}: holds NaN or infinity; expected finite weights")
        yield part


def _to_stored(name: str, part: np.ndarray, dtype: np.dtype) -> np.ndarray:
    largest = float(np.abs(part).max())
    if largest > float(np.finfo(dtype).max):
        raise WeightsError(f"{name}: holds {largest:g}, too large for {dtype.name}")
    return np.ascontiguousarray(part, dtype=dtype)


class _Archive:
    """An archive whose arrays are written piece by piece, each at a multiple of ALIGNMENT."""

    def __init__(self, archive: zipfile.ZipFile, file: IO[bytes]) -> None:
        self._archive, self._file = archive, file

    @contextlib.contextmanager
    def array(self, member: Member) -> Iterator[IO[bytes]]:
        """Where to write an array's numbers, behind a ``.npy`` header."""
        info = zipfile.ZipInfo(member.name)
        info.file_size = member.nbytes + ALIGNMENT * 4  # about: zipfile asks whether 32 bits do
        is_large = info.file_size * 2 > zipfile.ZIP64_LIMIT
        begin = self._file.seek(0, os.SEEK_END) + _LOCAL_HEADER + len(member.name.encode())
        info.extra = _padding(begin + _ZIP64_EXTRA * is_large)
        with self._archive.open(info, "w", force_zip64=is_large) as file:
            header = {
                "descr": npy_format.dtype_to_descr(member.dtype),
                "fortran_order": False,
                "shape": member.shape,
            }
            npy_format.write_array_header_1_0(file, header)  # a multiple of 64 bytes itself
            yield file
        info.extra = b""  # the list of members has no need of it


def _padding(begin: int) -> bytes:
    """What goes behind a member's name so that its data begin at a multiple of ALIGNMENT."""
    length = -(begin + _PADDING.size) % ALIGNMENT
    return _PADDING.pack(_PADDING_ID, 2 + length, ALIGNMENT) + bytes(length)
