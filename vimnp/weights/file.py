"""The ``.npz`` weights file: write, preflight, read.

A file is what ``np.savez`` would write (a zip of uncompressed ``.npy`` members, named as in the
PyTorch state dict) and one more member, ``vimnp.json``, with the configuration. ``np.load`` opens
it too, but is no defence: a 2 KB archive can declare a 40 GB array. So a file is opened as a zip,
and the set of members, their sizes and their headers are held against the table that the
configuration implies before anything is allocated from what they declare.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import json
import math
import os
import shlex
import warnings
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format

from vimnp.errors import ConfigError, WeightsError, excerpt
from vimnp.images.preprocessing import Preprocessing
from vimnp.models.vim.config import MOST_PIXELS, VimConfig
from vimnp.storage.archive import Archive, BoundedReader, MemberError
from vimnp.storage.files import open_regular, whole_file
from vimnp.storage.json_text import parse_json

FORMAT_VERSION = 2  # 1 had no fields for what was refused then
METADATA = "vimnp.json"
DTYPES = ("float32", "float16")

BUNDLED_DIGITS = Path(__file__).parents[1] / "data" / "digits.npz"
"""A small network of our own for handwritten digits, to try everything with."""

_DIRECTORY_LIMIT = 1 << 20  # bytes; the largest configuration's takes eight hundred thousand
_METADATA_LIMIT = 1 << 20  # bytes; a thousand labels take thirty thousand
_HEADER_LIMIT = 1 << 10  # bytes of a .npy header; ours take 128
_HEADER_START = 10  # of them before its text: magic, version, and the text's length
_NAME_LIMIT = 100  # characters of a member's name in a message; ours have 40
_MESSAGE_LIMIT = 400  # of the rest
_CHECKPOINTS = (".pth", ".pt", ".bin", ".ckpt", ".safetensors")  # what their names end in
_MENDING = "convert the checkpoint again with `vimnp convert`"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Metadata:
    """What a weights file says of itself, beside the tensors.

    Parameters
    ----------
    config : VimConfig
    preprocessing : Preprocessing
    dtype : {"float32", "float16"}
        As stored; the network computes in float32 either way.
    labels : tuple of str, optional
        A name for each class.
    source : str, optional
        Name of the file that the weights came from.
    source_sha256 : str, optional
        Its SHA-256, in hexadecimal.
    """

    config: VimConfig
    preprocessing: Preprocessing = Preprocessing()
    dtype: str = "float32"
    labels: tuple[str, ...] | None = None
    source: str | None = None
    source_sha256: str | None = None

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ConfigError(f"dtype is {self.dtype!r}; expected one of {DTYPES}")
        self._check_resized_picture()
        if self.labels is not None:
            if not all(isinstance(label, str) for label in self.labels):
                raise ConfigError("labels holds something that is no text; expected only text")
            if len(self.labels) != self.config.num_classes:
                raise ConfigError(
                    f"there are {len(self.labels)} labels for {self.config.num_classes} classes; "
                    "expected one each"
                )
        for name in ("source", "source_sha256"):
            if not isinstance(getattr(self, name), str | None):
                raise ConfigError(f"{name} is {getattr(self, name)!r}; expected text or null")
        for text in (self.source, self.source_sha256, *(self.labels or ())):
            if text is not None and not _is_unicode(text):
                raise ConfigError(f"{text!a} is half a character; expected Unicode text")

    def _check_resized_picture(self) -> None:
        """Refuse a size and a crop that are in bounds each, and make a picture that is not."""
        sides, crop_pct = self.config.img_size, self.preprocessing.crop_pct
        height, width = (int(side / crop_pct) for side in sides)
        if height * width > MOST_PIXELS:
            raise ConfigError(
                f"img_size {sides[0]}x{sides[1]} and crop_pct {crop_pct:g} have pictures resized "
                f"to {height}x{width}; expected at most {MOST_PIXELS} pixels: a smaller img_size "
                "or a larger crop_pct"
            )

    def to_json(self) -> bytes:
        values: dict[str, Any] = {"format_version": FORMAT_VERSION}
        for field in dataclasses.fields(self):
            values[field.name] = getattr(self, field.name)
        values["config"] = self.config.to_dict()
        values["preprocessing"] = dataclasses.asdict(self.preprocessing)
        return json.dumps(values, indent=1, ensure_ascii=False).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Metadata:
        """Parse and check ``vimnp.json``. Raises ConfigError for anything unexpected."""
        try:
            values = parse_json(text)
        except ValueError as error:
            raise ConfigError(f"not JSON ({error})") from None
        if not isinstance(values, dict):
            raise ConfigError("not a JSON object")
        version = values.pop("format_version", None)
        if version != FORMAT_VERSION or type(version) is not int:
            raise ConfigError(
                f"format_version is {version!r}; this vimnp reads version {FORMAT_VERSION}: "
                f"{_MENDING}"
            )
        expected = {field.name for field in dataclasses.fields(cls)}
        if set(values) != expected:
            raise ConfigError(f"has the fields {sorted(values)}; expected {sorted(expected)}")
        for name in ("config", "preprocessing"):
            if not isinstance(values[name], dict):
                raise ConfigError(f"{name} is no JSON object")
        values["config"] = VimConfig.from_dict(values["config"])
        values["preprocessing"] = _preprocessing_from(values["preprocessing"])
        if values["labels"] is not None:
            if not isinstance(values["labels"], list):
                raise ConfigError("labels is neither a list nor null")
            values["labels"] = tuple(values["labels"])
        return cls(**values)


def _is_unicode(text: str) -> bool:
    """Whether UTF-8 can hold it: JSON can spell lone surrogates, which nothing can print."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _preprocessing_from(values: dict[str, Any]) -> Preprocessing:
    expected = {field.name for field in dataclasses.fields(Preprocessing)}
    if set(values) != expected:
        raise ConfigError(f"preprocessing has {sorted(values)}; expected {sorted(expected)}")
    values = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
    return Preprocessing(**values)


def write_weights(
    path: str | os.PathLike[str],
    metadata: Metadata,
    tensors: Iterable[tuple[str, np.ndarray]],
) -> int:
    """Write a weights file, whole or not at all.

    Parameters
    ----------
    path : path-like
        Where to; an existing file is replaced once the new one is complete. See
        :func:`vimnp.storage.files.whole_file` for links, devices and pipes.
    metadata : Metadata
    tensors : iterable of (name, array)
        Every tensor of ``metadata.config.parameter_shapes()`` once, in any order and floating
        dtype. Taken one by one, so a generator keeps only one of them in memory.

    Returns
    -------
    int
        Size of the file in bytes.

    Raises
    ------
    WeightsError
        If a tensor is missing, unknown, repeated, of the wrong shape, not finite, or does not
        fit into float16.
    OSError
        If the file cannot be written.
    """
    with whole_file(path) as file:
        _write_members(file, metadata, tensors)
        return file.seek(0, os.SEEK_END)


def _write_members(
    file: IO[bytes], metadata: Metadata, tensors: Iterable[tuple[str, np.ndarray]]
) -> None:
    missing = metadata.config.parameter_shapes()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        # A ZipInfo of our own has a fixed date: the same weights give the same bytes.
        archive.writestr(zipfile.ZipInfo(METADATA), metadata.to_json())
        for name, tensor in tensors:
            shape = missing.pop(name, None)
            if shape is None:
                raise WeightsError(f"{name}: not a tensor of this network, or given twice")
            if tensor.shape != shape:
                raise WeightsError(f"{name}: shape {tensor.shape}; expected {shape}")
            stored = _to_stored(name, tensor, metadata.dtype)
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w") as member:
                npy_format.write_array(member, stored, version=(1, 0), allow_pickle=False)
    if missing:
        raise WeightsError(f"{next(iter(missing))}: missing; expected {len(missing)} more tensors")


def _to_stored(name: str, tensor: np.ndarray, dtype: str) -> np.ndarray:
    if not np.isfinite(tensor).all():
        raise WeightsError(f"{name}: holds NaN or infinity; expected finite weights")
    largest = float(np.abs(tensor).max())
    if largest > float(np.finfo(dtype).max):
        raise WeightsError(f"{name}: holds {largest:g}, too large for {dtype}")
    return np.ascontiguousarray(tensor, dtype=np.dtype(dtype).newbyteorder("<"))


class WeightsFile:
    """A weights file that was opened and found sound; tensors are read one at a time.

    Use as a context manager::

        with WeightsFile("vim_tiny.npz") as file:
            weight = file.read("head.weight")

    Parameters
    ----------
    path : path-like

    Attributes
    ----------
    metadata : Metadata

    Raises
    ------
    WeightsError
        If the file is not a zip, or a member is missing, extra, repeated, compressed, encrypted
        or of the wrong dtype, order, shape or size. The message names the file and the member.
    OSError
        If the file cannot be opened.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._file = self._open()
        try:
            self._archive = self._list_members()
            self.metadata = self._preflight()
        except MemberError as error:
            self._file.close()
            raise self._member_error(error) from None
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> WeightsFile:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def read(self, name: str) -> np.ndarray:
        """Read one tensor, widened to float32.

        Raises
        ------
        WeightsError
            If its bytes are damaged, or a value is NaN or infinite.
        """
        shape = self._shapes[name]
        try:
            data = self._archive.read(f"{name}.npy")
        except MemberError as error:
            raise self._member_error(error) from None
        stored = np.dtype(self.metadata.dtype).newbyteorder("<")
        size = math.prod(shape) * stored.itemsize
        tensor = np.frombuffer(data, stored, offset=len(data) - size).reshape(shape)
        if not np.isfinite(tensor).all():
            raise self._error(f"{name}.npy", "holds NaN or infinity; expected finite weights")
        return tensor.astype(np.float32, copy=False)

    def _open(self) -> BoundedReader:
        try:
            return BoundedReader(io.FileIO(open_regular(self.path)))
        except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
            reason = getattr(error, "strerror", None) or error
            raise WeightsError(f"{self.path}: {reason}") from error

    def _list_members(self) -> Archive:
        try:
            return Archive(self._file, _DIRECTORY_LIMIT)
        except MemberError:
            raise
        except Exception as error:  # zipfile raises many kinds on damaged bytes
            self._refuse_checkpoint(())
            raise WeightsError(
                f"{self.path}: not a complete .npz file ({excerpt(error)}); {_MENDING}"
            ) from None

    def _refuse_checkpoint(self, members: Iterable[str]) -> None:
        """Say what to do with a checkpoint, which is told by what is in it or by its name."""
        is_torch = any(name.endswith("/data.pkl") for name in members)
        if is_torch or self.path.suffix.lower() in _CHECKPOINTS:
            raise WeightsError(
                f"{self.path}: a checkpoint, it seems; expected a weights file. Convert it first: "
                f"vimnp convert {shlex.quote(str(self.path))} OUT.npz"
            )

    def _preflight(self) -> Metadata:
        members = self._archive.members
        metadata = self._preflight_metadata(members)
        self._shapes = metadata.config.parameter_shapes()
        expected = {METADATA} | {f"{name}.npy" for name in self._shapes}
        for name in sorted(expected - set(members)):
            raise self._error(name, f"missing; {_MENDING}")
        for name in sorted(set(members) - expected):
            raise self._error(name, "not a member that this network has; remove it")
        for name, shape in self._shapes.items():
            self._preflight_tensor(members[f"{name}.npy"], shape, metadata.dtype)
        return metadata

    def _preflight_metadata(self, members: dict[str, zipfile.ZipInfo]) -> Metadata:
        if METADATA not in members:
            self._refuse_checkpoint(members)
            raise self._error(METADATA, f"missing, so this is no vimnp weights file; {_MENDING}")
        self._archive.check(METADATA)
        if members[METADATA].file_size > _METADATA_LIMIT:
            raise self._error(METADATA, f"longer than {_METADATA_LIMIT} bytes")
        try:
            return Metadata.from_json(self._archive.read(METADATA))
        except ConfigError as error:
            raise self._error(METADATA, str(error)) from None

    def _preflight_tensor(self, info: zipfile.ZipInfo, shape: tuple[int, ...], dtype: str) -> None:
        found = self._read_header(info.filename)
        wanted = (shape, False, np.dtype(dtype).newbyteorder("<"))
        for what, is_there, should_be in zip(
            ("shape", "Fortran order", "dtype"), found, wanted, strict=False
        ):
            if is_there != should_be:
                raise self._error(info.filename, f"{what} {is_there}; expected {should_be}")
        size = found[3] + math.prod(shape) * np.dtype(dtype).itemsize
        if info.file_size != size:
            raise self._error(info.filename, f"{info.file_size} bytes; expected {size}")

    def _read_header(self, member: str) -> tuple[tuple[int, ...], bool, np.dtype, int]:
        """Shape, order, dtype and length of a member's ``.npy`` header."""
        try:
            return _parse_header(self._archive.read(member, _HEADER_LIMIT))
        except MemberError:
            raise
        except Exception as error:  # NumPy's parser raises many kinds
            raise self._error(member, f"no readable .npy header ({excerpt(error)})") from None

    def _member_error(self, error: MemberError) -> WeightsError:
        return self._error(error.member, f"{error.problem}; {_MENDING}")

    def _error(self, member: str, problem: str) -> WeightsError:
        if len(member) > _NAME_LIMIT:
            member = f"{member[:_NAME_LIMIT]}..."
        name = member if member.isprintable() else repr(member)
        if len(problem) > _MESSAGE_LIMIT:  # it may echo what a damaged file holds
            problem = f"{problem[:_MESSAGE_LIMIT]}..."
        return WeightsError(f"{self.path}: {name}: {problem}")


def _parse_header(start: bytes) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Shape, order, dtype and length of the header that a ``.npy`` member starts with.

    Layers have the same headers, and NumPy takes long to parse one: a network has but a few.
    """
    return _parse_whole_header(start[: _HEADER_START + int.from_bytes(start[8:10], "little")])


@functools.lru_cache(maxsize=64)
def _parse_whole_header(header: bytes) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    file = io.BytesIO(header)
    if npy_format.read_magic(file) != (1, 0):
        raise ValueError("not version 1.0 of the .npy format")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Python's and NumPy's, of odd spellings
        shape, fortran, dtype = npy_format.read_array_header_1_0(
            file, max_header_size=_HEADER_LIMIT
        )
    return shape, fortran, dtype, file.tell()
