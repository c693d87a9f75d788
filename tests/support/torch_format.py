"""Writes the zip format of ``torch.save`` without torch, and pickles that torch never would.

A checkpoint's content is given as plain Python values; NumPy arrays in it become tensors. What
has no such counterpart is spelt with the small classes below, down to raw instructions.
"""

from __future__ import annotations

import dataclasses
import pickle
import warnings
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

STORAGE_NAMES = {"f4": "FloatStorage", "f2": "HalfStorage", "f8": "DoubleStorage"}
STORAGE_NAMES |= {"i8": "LongStorage", "u1": "ByteStorage"}


@dataclasses.dataclass(frozen=True)
class Global:
    """A class or function, by name."""

    module: str
    name: str


@dataclasses.dataclass(frozen=True)
class Call:
    """The result of a global with arguments; ``new`` makes it by ``__new__``."""

    function: object
    arguments: tuple[object, ...] = ()
    new: bool = False


@dataclasses.dataclass(frozen=True)
class Filled:
    """An object that items are set in."""

    target: object
    items: Mapping[Any, object]


@dataclasses.dataclass(frozen=True)
class Built:
    """An object that ``__setstate__`` or ``__dict__`` gets a state through."""

    target: object
    state: object


@dataclasses.dataclass(frozen=True)
class Persistent:
    """A persistent id, torch's reference to a storage."""

    identity: object


@dataclasses.dataclass(frozen=True)
class Raw:
    """Pickle instructions as they stand."""

    code: bytes


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A tensor spelt out: what its storage holds, and what the pickle says of it.

    Whatever is None is said as it truly is.
    """

    data: np.ndarray
    storage: str | None = None
    key: str | None = None
    numel: object = None
    offset: object = 0
    shape: object = None
    stride: object = None
    metadata: object = None


class TorchWriter:
    """Collects the storages while it pickles."""

    def __init__(self) -> None:
        self.storages: dict[str, bytes] = {}

    def pickle(self, value: object) -> bytes:
        """A whole pickle of protocol 2."""
        return b"\x80\x02" + self._encode(value) + b"."

    def _encode(self, value: object) -> bytes:
        if value is None or isinstance(value, bool | int | float | str | bytes):
            return _strip(pickle.dumps(value, protocol=3))
        match value:
            case Raw(code):
                return code
            case Global(module, name):
                return f"c{module}\n{name}\n".encode()
            case Call(function, arguments, new):
                call = b"\x81" if new else b"R"
                return self._encode(function) + self._encode(arguments) + call
            case Filled(target, items):
                return self._encode(target) + self._encode(items)[1:]
            case Built(target, state):
                return self._encode(target) + self._encode(state) + b"b"
            case Persistent(identity):
                return self._encode(identity) + b"Q"
            case tuple():
                return b"(" + self._encode_all(value) + b"t"
            case list():
                return b"](" + self._encode_all(value) + b"e"
            case dict():
                items = [part for item in value.items() for part in item]
                return b"}(" + self._encode_all(items) + b"u"
            case np.ndarray():
                return self._encode(self._tensor(Tensor(value)))
            case Tensor():
                return self._encode(self._tensor(value))
        raise TypeError(type(value))

    def _encode_all(self, values: Iterable[object]) -> bytes:
        return b"".join(map(self._encode, values))

    def _tensor(self, tensor: Tensor) -> Call:
        data = np.ascontiguousarray(tensor.data)
        key = str(len(self.storages)) if tensor.key is None else tensor.key
        self.storages.setdefault(key, data.tobytes())
        kind = tensor.storage or STORAGE_NAMES[data.dtype.str[1:]]
        numel = data.size if tensor.numel is None else tensor.numel
        shape = data.shape if tensor.shape is None else tensor.shape
        steps = tuple(step // data.itemsize for step in data.strides)
        stride = steps if tensor.stride is None else tensor.stride
        storage = Persistent(("storage", Global("torch", kind), key, "cpu", numel))
        hooks = Call(Global("collections", "OrderedDict"))
        rebuild = Global("torch._utils", "_rebuild_tensor_v2")
        arguments = (storage, tensor.offset, shape, stride, False, hooks)
        metadata = () if tensor.metadata is None else (tensor.metadata,)
        return Call(rebuild, (*arguments, *metadata))


def save(
    path: Path,
    content: object,
    *,
    byteorder: bytes | None = b"little",
    compression: Mapping[str, int] | None = None,
    extra: Iterable[tuple[str, bytes]] = (),
    storages: Mapping[str, bytes | None] | None = None,
) -> None:
    """Write a checkpoint as ``torch.save`` does.

    Parameters
    ----------
    path : Path
    content : object
        What the pickle holds; bytes are taken as a whole pickle.
    byteorder : bytes, optional
        Content of the member of that name; None for a file without it.
    compression : mapping, optional
        Method by a member's name, for members that are not stored.
    extra : iterable of (name, bytes)
        Members to add, with ``archive/`` put before the name.
    storages : mapping, optional
        Storages to replace; None leaves one out.
    """
    writer = TorchWriter()
    code = content if isinstance(content, bytes) else writer.pickle(content)
    members = [("data.pkl", code), ("version", b"3\n"), *extra]
    if byteorder is not None:
        members.append(("byteorder", byteorder))
    for key, data in (writer.storages | dict(storages or {})).items():
        if data is not None:
            members.append((f"data/{key}", data))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members:
            member = zipfile.ZipInfo(f"archive/{name}")  # without the time, as torch.save
            member.compress_type = (compression or {}).get(name, zipfile.ZIP_STORED)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of a name that stands twice
                archive.writestr(member, data)


def patched(write: Callable[[Path], None], old: bytes, new: bytes) -> Callable[[Path], None]:
    """A writer of the same file with some bytes replaced, wherever they stand in it."""

    def write_patched(path: Path) -> None:
        write(path)
        data = path.read_bytes()
        assert old in data
        path.write_bytes(data.replace(old, new))

    return write_patched


def _strip(code: bytes) -> bytes:
    """A single value's instructions without protocol, memo and stop."""
    end = -1
    if code[2:3] in (b"X", b"C", b"B"):  # text and bytes are followed by a memo instruction
        end = -3
    return code[2:end]


def training_dump(
    weights: Mapping[str, np.ndarray], average: Mapping[str, np.ndarray]
) -> dict[str, object]:
    """What DeiT's training script saves: attributes on the state dict, arguments as a Namespace."""
    state_dict = Filled(Call(Global("collections", "OrderedDict")), weights)
    arguments = Call(Global("argparse", "Namespace"), new=True)
    moments = {index: {"step": 5, "exp_avg": array} for index, array in enumerate(weights.values())}
    return {
        "model": Built(state_dict, {"_metadata": {"": {"version": 1}}, "items": None}),
        "optimizer": {"state": moments, "param_groups": [{"lr": 1e-3, "params": [0, 1]}]},
        "epoch": 299,
        "model_ema": dict(average),
        "scaler": {},
        "args": Built(arguments, {"model": "vim_tiny", "device": "cuda", "__class__": None}),
    }
