"""The ``.pth`` file of ``torch.save``: opened, checked and read without torch.

It is a zip of uncompressed members: ``NAME/data.pkl`` describes the tensors, ``NAME/data/KEY``
holds the numbers of one storage, ``NAME/byteorder`` says their order. All of it is untrusted.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Literal

import numpy as np

from vimnp.convert.formats.naming import listing, quoted
from vimnp.convert.formats.pickled import SAVE_WEIGHTS, load_pickle
from vimnp.convert.formats.source import (
    FETCH_AGAIN,
    SAVE_AGAIN,
    Selection,
    SourceFile,
    is_safetensors,
)
from vimnp.convert.formats.state_dict import find_state_dict, find_training
from vimnp.convert.formats.tensors import Storage, StorageType, TensorRecord
from vimnp.errors import CheckpointError, excerpt
from vimnp.storage.archive import Archive, MemberError

# Bytes; Vim-tiny's take 46 thousand, a training dump's four times as many.
_PICKLE_LIMIT = 4 << 20
_DIRECTORY_LIMIT = 4 << 20  # a training dump of Vim-tiny has a quarter of a million


class Checkpoint(SourceFile):
    """A checkpoint that was opened and found sound.

    Parameters
    ----------
    path : path-like
    use_ema : bool
        Take ``model_ema``, the moving average of the weights, from a training dump.

    Raises
    ------
    CheckpointError
        If the file cannot be opened, is no torch zip archive, asks for a name that is not
        admitted, or describes a tensor that does not fit into its member of the archive.
    """

    def __init__(self, path: str | os.PathLike[str], *, use_ema: bool = False) -> None:
        self._use_ema = use_ema
        self._last_read: tuple[str | None, bytes] = (None, b"")
        super().__init__(path)

    def _describe(self) -> dict[str, tuple[int, ...]]:
        self._archive = self._list_members()
        self._members = self._archive.members
        self._folder = self._find_folder()
        self._order = self._read_byteorder()
        self._tensors = self._describe_tensors()
        return {name: tensor.shape for name, tensor in self._tensors.items()}

    def _storage_type(self, name: str) -> StorageType:
        return self._tensors[name].storage.type

    def _read_stored(self, name: str, rows: Selection) -> np.ndarray:
        tensor = self._tensors[name]
        dtype = tensor.storage.type.dtype.newbyteorder(self._order)
        data = self._read_storage(tensor.storage)
        stored = np.lib.stride_tricks.as_strided(  # inside the buffer: check_bounds saw to it
            np.frombuffer(data, dtype)[tensor.offset :],
            tensor.shape,
            [step * dtype.itemsize for step in tensor.stride],
            writeable=False,
        )
        return stored[rows]

    def reading_order(self, names: Iterable[str]) -> list[str]:
        """Tensors that share a storage one after another: it is read once for all of them."""
        names = list(names)
        places: dict[str, int] = {}
        for name in names:
            places.setdefault(self._tensors[name].storage.key, len(places))
        return sorted(names, key=lambda name: places[self._tensors[name].storage.key])

    def is_same(self, name: str, other: str) -> bool:
        """As for any source; two names of one tensor, as tied weights are, need no reading."""
        return self._tensors[name] == self._tensors[other] or super().is_same(name, other)

    def forget(self) -> None:
        self._last_read = (None, b"")

    def _read_storage(self, storage: Storage) -> bytes:
        """A storage's bytes, which are kept until another one is read."""
        if self._last_read[0] != storage.key:
            self.forget()  # it would take memory beside the next one
            data = self._read_member(self._storage_member(storage))
            self._last_read = (storage.key, data)
        return self._last_read[1]

    def _list_members(self) -> Archive:
        if is_safetensors(self._read_start()):
            raise self._error(
                "a safetensors file, it seems; expected a name that ends in .safetensors"
            )
        try:
            return Archive(self._file, _DIRECTORY_LIMIT)
        except MemberError as error:
            raise self._member_error(error) from None
        except Exception as error:  # zipfile raises many kinds on damaged bytes
            reason = excerpt(error)
            raise self._error(
                f"not a complete zip archive, as torch.save writes ({reason}); {FETCH_AGAIN}"
            ) from None

    def _find_folder(self) -> str:
        """Name of the one folder that everything in the archive lies in."""
        folders = {name.partition("/")[0] for name in self._members}
        pickles = [f"{folder}/data.pkl" for folder in sorted(folders)]
        found = [name for name in pickles if name in self._members]
        if len(found) != 1:
            raise self._error(
                f"a zip archive with {listing(self._members) or 'nothing'}; "
                "expected exactly one NAME/data.pkl, as torch.save writes"
            )
        folder = found[0].removesuffix("/data.pkl")
        if f"{folder}/constants.pkl" in self._members:
            raise self._error(f"a TorchScript archive; expected a state dict: {SAVE_AGAIN}")
        return folder

    def _read_byteorder(self) -> Literal["<", ">"]:
        """NumPy's sign for the order of bytes; before torch 2.1 it was always little."""
        member = f"{self._folder}/byteorder"
        order = self._read_member(member) if member in self._members else b"little"
        if order not in (b"little", b"big"):
            raise self._error(
                f"byteorder is {quoted(order.decode('latin-1'))}; expected little or big"
            )
        return "<" if order == b"little" else ">"

    def _describe_tensors(self) -> dict[str, TensorRecord]:
        member = f"{self._folder}/data.pkl"
        size = self._members[member].file_size
        if size > _PICKLE_LIMIT:
            raise self._error(
                f"its pickle has {size} bytes, expected at most {_PICKLE_LIMIT}; {SAVE_WEIGHTS}"
            )
        code = self._read_member(member)
        try:
            content = load_pickle(code)
            tensors = find_state_dict(content, self._use_ema)
            self.training = find_training(content)
        except CheckpointError as error:
            raise self._error(str(error)) from None
        storages: dict[str, Storage] = {}
        for name, tensor in tensors.items():
            storage = storages.setdefault(tensor.storage.key, tensor.storage)
            if storage != tensor.storage:  # torch.save writes none such
                raise self._error(
                    f"{quoted(name)}: takes the storage {quoted(storage.key)} for a "
                    f"{tensor.storage.type.name}, and another tensor for a {storage.type.name}"
                )
            try:
                self._check_storage(tensor.storage)
                tensor.check_bounds()
            except CheckpointError as error:
                raise self._error(f"{quoted(name)}: {error}") from None
        return tensors

    def _storage_member(self, storage: Storage) -> str:
        return f"{self._folder}/data/{storage.key}"

    def _check_storage(self, storage: Storage) -> None:
        member = self._storage_member(storage)
        if member not in self._members:
            raise CheckpointError(f"its member {quoted(member)} is missing; {FETCH_AGAIN}")
        size = storage.numel * storage.type.dtype.itemsize
        if self._members[member].file_size != size:
            raise CheckpointError(
                f"its member {quoted(member)} has {self._members[member].file_size} bytes; "
                f"expected {size} for {storage.numel} elements of a {storage.type.name}"
            )

    def _read_member(self, name: str) -> bytes:
        try:
            return self._archive.read(name)
        except MemberError as error:
            raise self._member_error(error) from None

    def _member_error(self, error: MemberError) -> CheckpointError:
        return self._error(
            f"{quoted(error.member)} {error.problem}; {FETCH_AGAIN}, or {SAVE_AGAIN}"
        )
