"""What may stand in a checkpoint's pickle: our own descriptions in place of torch's objects.

A name from the pickle is looked up in :data:`ADMITTED` as an exact (module, name) pair and nowhere
else; nothing is imported. Tensors become descriptions of where their numbers lie in the archive.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from vimnp.convert.formats.naming import quoted
from vimnp.errors import CheckpointError

MOST_DIMENSIONS = 16  # far beyond any weight, and within what NumPy can index


@dataclasses.dataclass(frozen=True, slots=True)
class StorageType:
    """How a tensor's numbers are stored.

    Parameters
    ----------
    name : str
        Of torch's storage class, such as ``FloatStorage``, or safetensors' name for the dtype.
    dtype : numpy.dtype
        Of one element in little-endian order; bfloat16, which NumPy lacks, is read as uint16.
    is_bfloat16 : bool
    """

    name: str
    dtype: np.dtype
    is_bfloat16: bool = False

    @property
    def is_floating(self) -> bool:
        return self.is_bfloat16 or self.dtype.kind == "f"


@dataclasses.dataclass(frozen=True, slots=True)
class Storage:
    """A flat buffer in the archive: its member's key, its type and its number of elements."""

    type: StorageType
    key: str
    numel: int


@dataclasses.dataclass(frozen=True, slots=True)
class TensorRecord:
    """A strided view of a storage. Offset and strides count elements, as in torch."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def check_bounds(self) -> None:
        """Raise CheckpointError unless every element lies inside the storage.

        A view that repeats elements (``expand``) is refused as well: by it a file of a few bytes
        could declare gigabytes. Python's integers do not overflow.
        """
        numel = math.prod(self.shape)
        reach = sum((n - 1) * step for n, step in zip(self.shape, self.stride, strict=True))
        end = self.offset + reach + 1 if numel else self.offset
        if end > self.storage.numel or numel > self.storage.numel:
            raise CheckpointError(
                f"its shape {self.shape} with stride {self.stride} and offset {self.offset} "
                f"reaches beyond its storage of {self.storage.numel} elements"
            )


class Discarded:
    """Stands for an object that no weight depends on, such as the training arguments."""

    __slots__ = ()


def discard(*arguments: object) -> Discarded:
    """Take the place of a constructor whose result is not needed."""
    return Discarded()


def ordered_dict(*arguments: object) -> dict[object, object]:
    """``OrderedDict()``; its items follow as instructions of their own."""
    if arguments:
        raise CheckpointError("collections.OrderedDict is called with arguments; expected none")
    return {}


def config_node(*arguments: object) -> dict[object, object]:
    """``yacs.config.CfgNode()``, a dict; its items follow, and its attributes are dropped."""
    if arguments:
        raise CheckpointError("yacs.config.CfgNode is called with arguments; expected none")
    return {}


def rebuild_tensor(*arguments: Any) -> TensorRecord:
    """``torch._utils._rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks)``."""
    if len(arguments) not in (6, 7):
        raise CheckpointError(f"a tensor is described by {len(arguments)} values; expected 6")
    storage, offset, shape, stride = arguments[:4]
    if len(arguments) == 7:
        _refuse_bits(arguments[6])
    if not isinstance(storage, Storage):
        raise CheckpointError(f"a tensor's storage is {quoted(storage)}; expected a persistent id")
    if not is_count(offset):
        raise CheckpointError(f"a tensor's offset is {quoted(offset)}; expected 0 or more")
    for what, values in (("shape", shape), ("stride", stride)):
        if type(values) is not tuple:
            raise CheckpointError(f"a tensor's {what} is {quoted(values)}; expected a tuple")
    if len(shape) != len(stride) or len(shape) > MOST_DIMENSIONS:
        raise CheckpointError(
            f"a tensor has {len(shape)} dimensions and {len(stride)} strides; "
            f"expected as many of both, at most {MOST_DIMENSIONS}"
        )
    for what, values in (("shape", shape), ("stride", stride)):
        if not all(map(is_count, values)):
            raise CheckpointError(f"a tensor's {what} is not made of whole numbers from 0 up")
    return TensorRecord(storage, offset, shape, stride)


def _refuse_bits(metadata: object) -> None:
    """Refuse a tensor whose numbers are not those that are stored: their negatives, for one.

    The seventh value is a dict of such bits; torch writes it only where one is set.
    """
    if metadata is not None and type(metadata) is not dict:
        raise CheckpointError(f"a tensor's bits are {quoted(metadata)}; expected a dict")
    names = {"neg": "negative bit", "conj": "conjugate bit"}
    for name, is_set in (metadata or {}).items():
        if is_set is not False:
            what = names.get(name, f"bit {quoted(name)}") if isinstance(name, str) else "bit"
            raise CheckpointError(
                f"a tensor has its {what} set, so that its numbers are not those that are stored; "
                "expected plain tensors: apply .resolve_conj() and .resolve_neg() to them before "
                "torch.save"
            )


def rebuild_parameter(*arguments: object) -> TensorRecord:
    """``torch._utils._rebuild_parameter(data, requires_grad, hooks)``."""
    if len(arguments) != 3 or not isinstance(arguments[0], TensorRecord):
        raise CheckpointError("a parameter is not described by a tensor and two more values")
    return arguments[0]


def load_storage(identity: object) -> Storage:
    """Turn a persistent id, ``("storage", type, key, location, numel)``, into a description."""
    if type(identity) is not tuple or len(identity) != 5 or identity[0] != "storage":
        raise CheckpointError("a persistent id is not ('storage', type, key, location, numel)")
    _, kind, key, _, numel = identity
    if not isinstance(kind, StorageType):
        raise CheckpointError(f"a storage's type is {quoted(kind)}; expected a storage class")
    if not isinstance(key, str):
        raise CheckpointError(f"a storage's key is {quoted(key)}; expected text")
    if not is_count(numel):
        raise CheckpointError(f"a storage's size is {quoted(numel)}; expected 0 or more")
    return Storage(kind, key, numel)


def is_count(value: object) -> bool:
    """Whether a value is a whole number from 0 to 2^63 - 1, and no bool."""
    return type(value) is int and 0 <= value < 1 << 63


_STORAGE_TYPES = [
    StorageType("FloatStorage", np.dtype("<f4")),
    StorageType("HalfStorage", np.dtype("<f2")),
    StorageType("BFloat16Storage", np.dtype("<u2"), is_bfloat16=True),
    StorageType("DoubleStorage", np.dtype("<f8")),
    StorageType("LongStorage", np.dtype("<i8")),
    StorageType("IntStorage", np.dtype("<i4")),
    StorageType("ShortStorage", np.dtype("<i2")),
    StorageType("CharStorage", np.dtype("i1")),
    StorageType("ByteStorage", np.dtype("u1")),
    StorageType("BoolStorage", np.dtype("u1")),
]

ADMITTED: dict[tuple[str, str], StorageType | Callable[..., object]] = {
    ("torch._utils", "_rebuild_tensor_v2"): rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): rebuild_parameter,
    ("collections", "OrderedDict"): ordered_dict,
    **{("torch", storage_type.name): storage_type for storage_type in _STORAGE_TYPES},
    ("yacs.config", "CfgNode"): config_node,
    # What training dumps hold beside the weights: arguments, devices, best accuracies.
    ("argparse", "Namespace"): discard,
    ("torch", "device"): discard,
    ("torch", "Size"): discard,
    ("numpy.core.multiarray", "scalar"): discard,
    ("numpy._core.multiarray", "scalar"): discard,
    ("numpy", "dtype"): discard,
    ("_codecs", "encode"): discard,  # how bytes are written in pickle protocol 2
    ("pathlib", "PosixPath"): discard,
    ("__builtin__", "set"): discard,  # builtins.set in pickle protocol 2; a CfgNode has two
    ("mmengine.logging.history_buffer", "HistoryBuffer"): discard,
}

ADMITTED_AFTER: dict[tuple[str, str], dict[tuple[str, str], Callable[..., object]]] = {
    # What a training's values are logged in, of which mmengine's dumps have a ``message_hub``.
    ("mmengine.logging.history_buffer", "HistoryBuffer"): {
        ("numpy.core.multiarray", "_reconstruct"): discard,
        ("numpy._core.multiarray", "_reconstruct"): discard,
        ("numpy", "ndarray"): discard,
    },
}
"""What is admitted once a pickle has asked for another name: its parts, of no use elsewhere."""
