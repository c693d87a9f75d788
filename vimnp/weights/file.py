"""The ``.npz`` weights file: preflight and read.

A file is what ``np.savez`` would write (a zip of uncompressed ``.npy`` members, named as in the
PyTorch state dict) and one more member, ``vimnp.json``, with the configuration. ``np.load`` opens
it too, but is no defence: a 2 KB archive can declare a 40 GB array. So a file is opened as a zip,
and the set of members, their sizes and their headers are held against the table that the
configuration implies before anything is allocated from what they declare.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vimnp.errors import ConfigError, WeightsError, excerpt
from vimnp.storage.archive import Archive, BoundedReader, MemberError
from vimnp.storage.files import open_regular
from vimnp.weights.members import (
    ALIGNMENT,
    Member,
    is_encoded,
    matrix_shape,
    members_of,
    stored_dtype,
)
from vimnp.weights.metadata import MENDING, METADATA, TOKENIZER, TOKENIZER_LIMIT, Metadata
from vimnp.weights.npy_header import HEADER_LIMIT, parse_header

if TYPE_CHECKING:
    from vimnp.weights.encodings import Encoded

_BUNDLED = Path(__file__).parents[1] / "data"

BUNDLED_DIGITS = _BUNDLED / "digits.npz"
"""A small network of our own for handwritten digits, to try everything with."""

BUNDLED_PYDOC = _BUNDLED / "pydoc.npz"
"""A small language model of our own, which writes bytes as Python's documentation has them."""

_DIRECTORY_LIMIT = 1 << 20  # bytes; the largest configuration's takes eight hundred thousand
_METADATA_LIMIT = 1 << 20  # bytes; a thousand labels take thirty thousand
_NAME_LIMIT = 100  # characters of a member's name in a message; ours have 40
_MESSAGE_LIMIT = 400  # of the rest
_EXPONENT = 0x7F80  # of a bfloat16 that is NaN or infinite
_CHECKPOINTS = (".pth", ".pt", ".bin", ".ckpt", ".safetensors")  # what their names end in


class WeightsFile:
    """A weights file that was opened and found sound; tensors are read one at a time.

    Use as a context manager::

        with WeightsFile("vim_tiny.npz") as file:
            weight = file.read("head.weight")

    Parameters
    ----------
    path : path-like
        The ``.npz`` file.

    Attributes
    ----------
    metadata : Metadata
        What the file says of the network.
    path : pathlib.Path
        The file.

    Raises
    ------
    WeightsError
        If the file cannot be opened or is not a zip, or a member is missing, extra, repeated,
        compressed, encrypted or of the wrong dtype, order, shape or size. The message names the
        file and the member.

    Examples
    --------
    >>> with vimnp.weights.WeightsFile(vimnp.weights.BUNDLED_DIGITS) as file:
    ...     print(file.metadata.config.family.name, file.read("head.weight").shape)
    vim (10, 64)
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

        Parameters
        ----------
        name : str
            Of the tensor, as in the PyTorch state dict.

        Returns
        -------
        ndarray of float32, shape as ``metadata.config.parameter_shapes()`` has it
            A matrix that is stored in int8 or int4 is decoded.

        Raises
        ------
        WeightsError
            If its bytes are damaged, or a value is NaN or infinite.
        """
        if is_encoded(self._stored_dtype(name)):
            from vimnp.weights.encodings import decode

            decoded = decode(self.read_encoded(name)).reshape(self._tensors[name].shape)
            if not np.isfinite(decoded).all():
                raise self._error(name, "stands for NaN or infinity; expected finite weights")
            return decoded
        (member,) = self._members[name]
        tensor = self._read_array(member).astype(np.float32, copy=False)
        if not np.isfinite(tensor).all():  # of float16, NumPy takes many times as long to tell
            raise self._error(member.name, "holds NaN or infinity; expected finite weights")
        return tensor

    def read_stored(self, name: str) -> np.ndarray | Encoded:
        """Read a tensor as it is stored.

        Parameters
        ----------
        name : str
            Of the tensor, as in the PyTorch state dict.

        Returns
        -------
        ndarray of float32, shape as in the configuration, or vimnp.weights.encodings.Encoded
            What :meth:`read_encoded` gives of a matrix that is encoded, and else :meth:`read`.

        Raises
        ------
        WeightsError
            As for these.
        """
        return self.read_encoded(name) if self.is_encoded(name) else self.read(name)

    def is_encoded(self, name: str) -> bool:
        """Say whether a tensor is a matrix that :meth:`read_encoded` gives.

        Parameters
        ----------
        name : str
            Of the tensor, as in the PyTorch state dict.

        Returns
        -------
        bool
            False for what is stored as float32 or float16.
        """
        return is_encoded(self._stored_dtype(name))

    def read_encoded(self, name: str) -> Encoded:
        """Read a matrix as it is stored and multiplied with; of a language model it is left there.

        There its arrays begin at multiples of 64 bytes. They are the file's own, mapped, wherever
        it was written so; they stay readable when this object is closed. Only the scales are looked
        at: all else is read when the matrix is first used, and :meth:`verify` looks at it all. Of a
        network of pictures, which is small, everything is read and looked at.

        Parameters
        ----------
        name : str
            A tensor for which :meth:`is_encoded` is true.

        Returns
        -------
        vimnp.weights.encodings.Encoded
            Codes and scales.

        Raises
        ------
        WeightsError
            If the file cannot be mapped, or a scale is NaN or infinite; of a network of pictures
            also if bytes are damaged, or a code, a scale or a factor of smoothing is none.
        """
        from vimnp.weights.encodings import PER_CHANNEL, Encoded

        outputs, inputs = matrix_shape(self._tensors[name])
        if self._stored_dtype(name) == PER_CHANNEL:
            arrays = [self._read_array(member) for member in self._members[name]]
            native = [array.astype(array.dtype.newbyteorder("="), copy=False) for array in arrays]
            encoded = Encoded(PER_CHANNEL, inputs, outputs, *native)
            self._check_encoded(name, encoded)
            return encoded
        codes, *others = self._members[name]
        scales = self._map(others[0]) if others else None
        if scales is not None and np.any((scales & _EXPONENT) == _EXPONENT):
            raise self._error(others[0].name, "holds NaN or infinity; expected finite scales")
        return Encoded(self._stored_dtype(name), inputs, outputs, self._map(codes), scales)

    def checksum(self, name: str) -> int:
        """Give what tells a tensor's numbers from others: the file's CRC-32 of them, or of codes.

        Nothing is read for it, so that damage does not show in it.

        Parameters
        ----------
        name : str
            Of the tensor, as in the PyTorch state dict.

        Returns
        -------
        int
            32 bits.
        """
        return self._archive.members[self._members[name][0].name].CRC

    def tokenizer_text(self) -> str | None:
        """Read the content of ``tokenizer.json``.

        Returns
        -------
        str or None
            None where the file has none.

        Raises
        ------
        WeightsError
            If its bytes are damaged, or no UTF-8.
        """
        if self.metadata.tokenizer != TOKENIZER:
            return None
        try:
            return self._archive.read(TOKENIZER).decode()
        except MemberError as error:
            raise self._member_error(error) from None
        except UnicodeDecodeError as error:
            raise self._error(TOKENIZER, f"not UTF-8 ({error.reason})") from None

    def checksums(self) -> dict[str, int]:
        """Give the CRC-32 of each member of a tensor, as the file has them.

        Returns
        -------
        dict of str to int
            By the member's name: of a matrix that is encoded, codes and scales have one each.
        """
        members = self._archive.members
        names = [member.name for of_tensor in self._members.values() for member in of_tensor]
        return {name: members[name].CRC for name in names}

    def verify(self) -> None:
        """Read every byte, a piece at a time, and look for damage.

        Raises
        ------
        WeightsError
            If a member's bytes are damaged, or a weight is NaN, infinite or no code.
        """
        try:
            for member in self._archive.members:
                if self._archive.damaged(member):
                    raise MemberError(member, "cannot be read (its CRC-32 is another)")
        except MemberError as error:
            raise self._member_error(error) from None
        for name in self._tensors:
            if not self.is_encoded(name):
                self.read(name)
                continue
            self._check_encoded(name, self.read_encoded(name))

    def _check_encoded(self, name: str, encoded: Encoded) -> None:
        try:
            encoded.check()
        except WeightsError as error:
            raise self._error(name, f"{error}; {MENDING}") from None

    def _stored_dtype(self, name: str) -> str:
        return stored_dtype(self._tensors[name], self.metadata.dtype)

    def _read_array(self, member: Member) -> np.ndarray:
        """A member's numbers, held against the CRC."""
        try:
            data = self._archive.read(member.name)
        except MemberError as error:
            raise self._member_error(error) from None
        array = np.frombuffer(data, member.dtype, offset=len(data) - member.nbytes)
        return array.reshape(member.shape)

    def _map(self, member: Member) -> np.ndarray:
        """A member's numbers in this machine's order of bytes, aligned."""
        try:
            data = self._archive.map(member.name)
        except MemberError as error:
            raise self._member_error(error) from None
        array = np.frombuffer(data[len(data) - member.nbytes :], member.dtype)
        native = member.dtype.newbyteorder("=")
        address = array.__array_interface__["data"][0]  # array.ctypes would load ctypes
        if address % ALIGNMENT or array.dtype != native:
            room = np.empty(member.nbytes + ALIGNMENT, np.uint8)
            begin = -room.ctypes.data % ALIGNMENT
            copy = room[begin : begin + member.nbytes].view(native)
            copy[:] = array
            array = copy
        return array.reshape(member.shape)

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
                f"{self.path}: not a complete .npz file ({excerpt(error)}); {MENDING}"
            ) from None

    def _refuse_checkpoint(self, members: Iterable[str]) -> None:
        """Say what to do with a checkpoint, which is told by what is in it or by its name."""
        is_torch = any(name.endswith("/data.pkl") for name in members)
        if is_torch or self.path.suffix.lower() in _CHECKPOINTS:
            import shlex

            raise WeightsError(
                f"{self.path}: a checkpoint, it seems; expected a weights file. Convert it first: "
                f"vimnp convert {shlex.quote(str(self.path))} OUT.npz"
            )

    def _preflight(self) -> Metadata[Any]:
        members = self._archive.members
        metadata = self._preflight_metadata(members)
        self._tensors = metadata.config.tensors()
        self._members = {
            name: members_of(name, tensor, metadata.dtype, is_smoothed=metadata.is_smoothed)
            for name, tensor in self._tensors.items()
        }
        described = [member for of_tensor in self._members.values() for member in of_tensor]
        expected = {METADATA} | {member.name for member in described}
        if metadata.tokenizer == TOKENIZER:
            expected.add(TOKENIZER)
        for name in sorted(expected - set(members)):
            raise self._error(name, f"missing; {MENDING}")
        for name in sorted(set(members) - expected):
            raise self._error(name, "not a member that this network has; remove it")
        if metadata.tokenizer == TOKENIZER:
            self._archive.check(TOKENIZER)
            if members[TOKENIZER].file_size > TOKENIZER_LIMIT:
                raise self._error(TOKENIZER, f"longer than {TOKENIZER_LIMIT} bytes")
        for member in described:
            self._preflight_tensor(members[member.name], member)
        return metadata

    def _preflight_metadata(self, members: dict[str, zipfile.ZipInfo]) -> Metadata[Any]:
        if METADATA not in members:
            self._refuse_checkpoint(members)
            raise self._error(METADATA, f"missing, so this is no vimnp weights file; {MENDING}")
        self._archive.check(METADATA)
        if members[METADATA].file_size > _METADATA_LIMIT:
            raise self._error(METADATA, f"longer than {_METADATA_LIMIT} bytes")
        try:
            return Metadata.from_json(self._archive.read(METADATA))
        except ConfigError as error:
            raise self._error(METADATA, str(error)) from None

    def _preflight_tensor(self, info: zipfile.ZipInfo, member: Member) -> None:
        found = self._read_header(info.filename)
        wanted = (member.shape, False, member.dtype)
        for what, is_there, should_be in zip(
            ("shape", "Fortran order", "dtype"), found, wanted, strict=False
        ):
            if is_there != should_be:
                raise self._error(info.filename, f"{what} {is_there}; expected {should_be}")
        size = found[3] + member.nbytes
        if info.file_size != size:
            raise self._error(info.filename, f"{info.file_size} bytes; expected {size}")

    def _read_header(self, member: str) -> tuple[tuple[int, ...], bool, np.dtype, int]:
        """Shape, order, dtype and length of a member's ``.npy`` header."""
        try:
            return parse_header(self._archive.read(member, HEADER_LIMIT))
        except MemberError:
            raise
        except Exception as error:  # NumPy's parser raises many kinds
            raise self._error(member, f"no readable .npy header ({excerpt(error)})") from None

    def _member_error(self, error: MemberError) -> WeightsError:
        return self._error(error.member, f"{error.problem}; {MENDING}")

    def _error(self, member: str, problem: str) -> WeightsError:
        if len(member) > _NAME_LIMIT:
            member = f"{member[:_NAME_LIMIT]}..."
        name = member if member.isprintable() else repr(member)
        if len(problem) > _MESSAGE_LIMIT:  # it may echo what a damaged file holds
            problem = f"{problem[:_MESSAGE_LIMIT]}..."
        return WeightsError(f"{self.path}: {name}: {problem}")
