"""How a tensor stands in a weights file: as one member, or as codes and scales."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vimnp.weights.family import Tensor

if TYPE_CHECKING:
    from vimnp.weights.encodings import Encoded

ALIGNMENT = 64
"""Bytes at a multiple of which each member's numbers begin, so that kernels read them in place."""

_BITS = {"float32": 32, "float16": 16, "bfloat16": 16, "int8": 8, "int4": 4}
_OF_MORE_BITS = {32: "float32", 16: "float16", 8: "int8"}
_PLAIN = ("float32", "float16")  # what NumPy has: a tensor is one array of its own shape


class Member(NamedTuple):
    """A member of the archive, which is a ``.npy`` file."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def nbytes(self) -> int:
        """Bytes of its numbers."""
        return math.prod(self.shape) * self.dtype.itemsize


def stored_dtype(tensor: Tensor, dtype: str) -> str:
    """The dtype of a tensor in a file of a dtype: that one, or one of the bits that it needs."""
    if dtype == "int8" and tensor.as_matrix is not None:
        from vimnp.weights.encodings import PER_CHANNEL

        return PER_CHANNEL
    if tensor.fewest_bits <= _BITS[dtype]:
        return dtype
    return _OF_MORE_BITS[tensor.fewest_bits]


def is_encoded(dtype: str) -> bool:
    """Whether a tensor stored so is a matrix in :mod:`vimnp.weights.encodings`' way."""
    return dtype not in _PLAIN


def as_stored(tensor: Tensor, dtype: str, numbers: np.ndarray) -> np.ndarray | Encoded:
    """What a file of a dtype gives of a tensor: encoded where it is a matrix of few bits."""
    stored = stored_dtype(tensor, dtype)
    if not is_encoded(stored):
        return numbers
    from vimnp.weights.encodings import encode

    return encode(stored, numbers.reshape(matrix_shape(tensor)))


def matrix_shape(tensor: Tensor) -> tuple[int, int]:
    """The shape (outputs, inputs) of a tensor that may be encoded."""
    outputs, inputs = tensor.as_matrix or tensor.shape
    return outputs, inputs


def members_of(name: str, tensor: Tensor, dtype: str, *, is_smoothed: bool = False) -> list[Member]:
    """The members of a tensor in a file of a dtype.

    Parameters
    ----------
    name : str
    tensor : Tensor
    dtype : str
    is_smoothed : bool
        Whether what int8 has with a scale for each output is smoothed.
    """
    return [
        Member(f"{name}{end}", shape, stored)
        for end, shape, stored in _endings(tensor, dtype, is_smoothed)
    ]


@functools.lru_cache(maxsize=64)  # the tensors of all layers have the same ones
def _endings(tensor: Tensor, dtype: str, is_smoothed: bool) -> list[Member]:
    """Of a tensor's members, what follows its name."""
    stored = stored_dtype(tensor, dtype)
    if not is_encoded(stored):
        return [Member(".npy", tensor.shape, np.dtype(stored).newbyteorder("<"))]
    from vimnp.weights.encodings import PER_CHANNEL, layout  # plain files need it not

    outputs, inputs = matrix_shape(tensor)
    arrays = layout(stored, outputs, inputs)
    codes = np.dtype(arrays.codes_dtype).newbyteorder("<")
    found = [Member(".codes.npy", arrays.codes, codes)]
    if arrays.scales is not None:
        scales = np.dtype(arrays.scales_dtype).newbyteorder("<")
        found.append(Member(".scales.npy", arrays.scales, scales))
    if is_smoothed and stored == PER_CHANNEL:
        found.append(Member(".smooth.npy", (inputs,), np.dtype("<f4")))
    return found
