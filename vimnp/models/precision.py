"""What a network of pictures multiplies in: floats, or whole numbers of 8 bits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import numpy as np

from vimnp.errors import ConfigError
from vimnp.weights.family import Configuration, ReadTensor
from vimnp.weights.members import as_stored

if TYPE_CHECKING:
    from vimnp.weights.metadata import Metadata

Precision: TypeAlias = Literal["float32", "int8"]
"""What its large matrices are multiplied in; all else is float32."""

PRECISIONS: tuple[Precision, ...] = ("float32", "int8")


def resolve_precision(asked: str | None, metadata: Metadata[Any]) -> Precision:
    """What a network multiplies in: as asked, or else as its file is stored.

    Raises
    ------
    ConfigError
        If there is no such precision.
    """
    if asked is None:
        return "int8" if metadata.dtype == "int8" else "float32"
    if asked not in PRECISIONS:
        raise ConfigError(f"precision is {asked!r}; expected one of {PRECISIONS}, or None")
    return asked


def read_in(precision: Precision, read: ReadTensor, config: Configuration) -> ReadTensor:
    """Give a network's tensors as a precision wants them, whatever they are stored as.

    What a file has encoded stays so in int8. What it has as floats is encoded there without
    smoothing, which would take a pass of the network.
    """
    tensors = config.tensors()

    def read_float32(name: str) -> Any:
        tensor: Any = read(name)
        if isinstance(tensor, np.ndarray):
            return tensor
        from vimnp.weights.encodings import decode

        return decode(tensor).reshape(tensors[name].shape)

    def read_int8(name: str) -> Any:
        tensor: Any = read(name)
        if tensors[name].as_matrix is None or not isinstance(tensor, np.ndarray):
            return tensor
        return as_stored(tensors[name], "int8", tensor)

    return cast("ReadTensor", read_int8 if precision == "int8" else read_float32)


def read_sizes(precision: Precision, config: Configuration) -> ReadTensor:
    """Give tensors whose sizes alone have a meaning: for programs that only count."""
    tensors = config.tensors()

    def read(name: str) -> Any:
        tensor = tensors[name]
        if precision != "int8" or tensor.as_matrix is None:
            return np.broadcast_to(np.float32(0), tensor.shape)
        from vimnp.weights.encodings import PER_CHANNEL, Encoded, layout

        outputs, inputs = tensor.as_matrix
        arrays = layout(PER_CHANNEL, outputs, inputs)
        assert arrays.scales is not None
        codes = np.empty(arrays.codes, arrays.codes_dtype)  # no page of it is ever touched
        scales = np.zeros(arrays.scales, arrays.scales_dtype)
        return Encoded(PER_CHANNEL, inputs, outputs, codes, scales)

    return cast("ReadTensor", read)


def bytes_in_memory(precision: Precision, config: Configuration) -> int:
    """Of a network's weights, as the native backend has them."""
    floats, whole = config.num_parameters, 0
    for tensor in config.tensors().values():
        if precision == "int8" and tensor.as_matrix is not None:
            outputs, inputs = tensor.as_matrix
            floats += outputs - outputs * inputs
            whole += outputs * inputs
    return 4 * floats + whole
