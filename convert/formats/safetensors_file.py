"""The ``.safetensors`` file: checked by the package ``safetensors``, read without torch.

It is the length of a header (8 bytes, little-endian), the header, which is JSON from each tensor's
name to its dtype, its shape and where its numbers lie, and the numbers. The package sees to it that
all of this is true of the file, but for NumPy it knows no bfloat16, so the numbers are read here.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from vimnp.convert.formats.naming import quoted
from vimnp.convert.formats.source import FETCH_AGAIN, Selection, SourceFile, is_safetensors
from vimnp.convert.formats.state_dict import without_wrappers
from vimnp.convert.formats.tensors import MOST_DIMENSIONS, StorageType
from vimnp.errors import CheckpointError
from vimnp.storage.json_text import parse_json

# Bytes; Vim-tiny's take 46 thousand. The package would take 100 million.
_HEADER_LIMIT = 4 << 20
_LENGTH_BYTES = 8

_STORAGE_TYPES = {
    "F64": StorageType("F64", np.dtype("<f8")),
    "F32": StorageType("F32", np.dtype("<f4")),
    "F16": StorageType("F16", np.dtype("<f2")),
    "BF16": StorageType("BF16", np.dtype("<u2"), is_bfloat16=True),
}


@dataclasses.dataclass(frozen=True, slots=True)
class _Entry:
    """What the header says of a tensor; the offset counts bytes of the file."""

    type: StorageType
    shape: tuple[int, ...]
    offset: int


class SafetensorsFile(SourceFile):
    """A safetensors file that was opened and found sound.

    Parameters
    ----------
    path : path-like

    Raises
    ------
    CheckpointError
        If the file cannot be opened, the package ``safetensors`` is not installed or refuses it,
        its header is too long, or a tensor stands in it twice or has too many dimensions.
    """

    def _describe(self) -> dict[str, tuple[int, ...]]:
        if not is_safetensors(start := self._read_start()) and start.startswith(b"PK"):
            raise self._error(
                "a zip archive, as torch.save writes; expected a name that ends in .pth"
            )
        header_size = self._header_size()
        if header_size > _HEADER_LIMIT:
            raise self._error(
                f"its header would have {header_size} bytes, expected at most {_HEADER_LIMIT}; "
                f"{FETCH_AGAIN}"
            )
        self._check_with_package()
        entries = self._read_header(header_size)
        self._entries = without_wrappers(entries)
        return {name: entry.shape for name, entry in self._entries.items()}

    def _storage_type(self, name: str) -> StorageType:
        return self._entries[name].type

    def _read_stored(self, name: str, rows: Selection) -> np.ndarray:
        entry = self._entries[name]
        shape, offset = entry.shape, entry.offset
        if isinstance(rows, slice):
            begin, end, _ = rows.indices(shape[0])
            offset += begin * math.prod(shape[1:]) * entry.type.dtype.itemsize
            shape = (end - begin, *shape[1:])
        self._file.seek(offset)
        size = math.prod(shape) * entry.type.dtype.itemsize
        return np.frombuffer(self._file.read(size), entry.type.dtype).reshape(shape)

    def _header_size(self) -> int:
        self._file.seek(0)
        return int.from_bytes(self._file.read(_LENGTH_BYTES), "little")

    def _check_with_package(self) -> None:
        try:
            from safetensors import safe_open  # an extra: nothing else needs it
        except ImportError:
            raise self._error(
                "reading it takes the package safetensors, which is not installed; run "
                "`pip install 'vimnp[safetensors]'` or `pip install safetensors`"
            ) from None
        try:
            with safe_open(self.path, framework="numpy"):
                pass
        except Exception as error:  # its own, and the system's for a file that cannot be mapped
            raise self._error(
                f"not a sound safetensors file ({quoted(str(error))}); {FETCH_AGAIN}"
            ) from None

    def _read_header(self, size: int) -> dict[str, _Entry]:
        self._file.seek(_LENGTH_BYTES)
        try:
            text = self._file.read(size)
            header = parse_json(text, object_pairs_hook=self._without_repetition)
        except CheckpointError:
            raise
        except ValueError as error:  # the package does not look into fields that it does not know
            raise self._error(
                f"its header is not JSON ({quoted(str(error))}); {FETCH_AGAIN}"
            ) from None
        header.pop("__metadata__", None)  # text for people
        return {name: self._entry(name, said, size) for name, said in header.items()}

    def _without_repetition(self, items: list[tuple[str, Any]]) -> dict[str, Any]:
        """A JSON object. The package, as most readers of JSON, takes the last of each name."""
        found: dict[str, Any] = {}
        for name, value in items:
            if name in found:
                raise self._error(f"{quoted(name)} stands twice in its header; {FETCH_AGAIN}")
            found[name] = value
        return found

    def _entry(self, name: str, said: dict[str, Any], header_size: int) -> _Entry:
        shape = tuple(said["shape"])
        if len(shape) > MOST_DIMENSIONS:
            raise self._error(
                f"{quoted(name)}: has {len(shape)} dimensions; expected at most {MOST_DIMENSIONS}"
            )
        other = StorageType(said["dtype"], np.dtype("V1"))  # is never read
        kind = _STORAGE_TYPES.get(said["dtype"], other)
        return _Entry(kind, shape, _LENGTH_BYTES + header_size + said["data_offsets"][0])
