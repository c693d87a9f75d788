"""Matrices as products read them: for NumPy transposed, compiled in panels of outputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from vimnp.engine.arena import Allocate
from vimnp.ops.kernels import aligned_empty

if TYPE_CHECKING:  # else every process would pay for it at its start
    from vimnp.weights.encodings import Encoded

Matrix = TypeVar("Matrix")
Parameters = TypeVar("Parameters")

PackMatrix = Callable[["np.ndarray | Encoded", Allocate], Matrix]
"""Makes of a matrix (out, in) what a product reads: a copy, it may hold a file's own bytes."""


_BITS = {"float32": 32, "bfloat16": 16, "int8": 8.5, "int4": 4.5}


def transposed(matrix: np.ndarray | Encoded, empty: Allocate) -> np.ndarray:
    """A contiguous copy of the transpose in float32: what NumPy's products read."""
    if not isinstance(matrix, np.ndarray):
        from vimnp.weights.encodings import decode

        matrix = decode(matrix)
    copy = empty(*matrix.shape[::-1])
    copy[...] = matrix.T
    return copy


class Packing(NamedTuple):
    """How an instruction set wants its matrices.

    Parameters
    ----------
    width : int
        Floats in a vector.
    panel : int
        Outputs in a panel, a multiple of `width`.
    """

    width: int
    panel: int

    def pack(self, matrix: np.ndarray | Encoded, empty: Allocate = aligned_empty) -> PackedMatrix:
        """Lay a matrix out in panels; one that is encoded has them already.

        A language model's stays where it is, which may be its file.

        Parameters
        ----------
        matrix : ndarray of float32, shape (outputs, inputs), or Encoded
        empty : callable
            Makes the array that holds the panels.
        """
        if not isinstance(matrix, np.ndarray):
            smooth = matrix.smooth
            factors = None if smooth is None else np.float32(1) / smooth
            matrix = matrix.placed(empty)
            return PackedMatrix(matrix.inputs, matrix.outputs, None, self, matrix, factors)
        outputs, inputs = matrix.shape
        panels = pack(self.width, self.panel, matrix, empty)
        return PackedMatrix(inputs, outputs, panels, self)


@dataclasses.dataclass(eq=False)  # not frozen: every process would wait for that
class PackedMatrix:
    """A matrix (inputs, outputs), packed.

    Parameters
    ----------
    inputs, outputs : int
    panels : ndarray of float32, or None
        See :func:`pack`. A matrix without them has a size, which is enough to count by, or is
        encoded.
    packing : Packing
    encoded : Encoded, optional
        What stands for the panels, in the same layout for all instruction sets.
    factors : ndarray of float32, shape (inputs,), optional
        What inputs are multiplied by before they are quantised.
    """

    inputs: int
    outputs: int
    panels: np.ndarray | None
    packing: Packing
    encoded: Encoded | None = None
    factors: np.ndarray | None = None

    @property
    def dtype(self) -> str:
        """What the numbers are stored as."""
        return "float32" if self.encoded is None else self.encoded.dtype

    @property
    def bits(self) -> float:
        """Bits that are read for a weight, with its part of a scale."""
        if self.dtype == "int8_per_channel":
            return 8 + 32 / self.inputs
        return _BITS[self.dtype]

    def unpack(self) -> np.ndarray | Encoded:
        """The numbers, shape (inputs, outputs); encoded where they could not be so again."""
        if self.encoded is not None:
            from vimnp.weights.encodings import PER_CHANNEL, decode

            return self.encoded if self.encoded.dtype == PER_CHANNEL else decode(self.encoded).T
        assert self.panels is not None
        return unpack(self.packing.width, self.packing.panel, self.panels, self.outputs)


def sizes_only(matrix: np.ndarray | Encoded, empty: Allocate = aligned_empty) -> PackedMatrix:
    """A matrix (outputs, inputs) without its numbers, for a program that only counts."""
    if not isinstance(matrix, np.ndarray):
        return PackedMatrix(matrix.inputs, matrix.outputs, None, Packing(1, 1), matrix)
    outputs, inputs = matrix.shape
    return PackedMatrix(inputs, outputs, None, Packing(1, 1))


def pack(width: int, panel: int, matrix: np.ndarray, empty: Allocate = aligned_empty) -> np.ndarray:
    """Lay a matrix out in panels of outputs.

    Parameters
    ----------
    width : int
        Floats in a vector.
    panel : int
        Outputs in a panel, a multiple of `width`.
    matrix : ndarray of float32, shape (outputs, inputs)
    empty : callable
        Makes the array that is returned.

    Returns
    -------
    ndarray of float32, shape (inputs * outputs rounded up to a multiple of width,)
        Panel after panel, each (inputs, outputs of the panel); the last one has what is left, and
        zeros that fill a vector.
    """
    outputs, inputs = matrix.shape
    padded = -(-outputs // width) * width
    packed = empty(inputs * padded)
    number = outputs // panel
    whole = number * panel
    panels = packed[: inputs * whole].reshape(number, inputs, panel)
    panels[...] = matrix[:whole].reshape(number, panel, inputs).transpose(0, 2, 1)
    if whole < outputs:
        last = packed[inputs * whole :].reshape(inputs, padded - whole)
        last[:, : outputs - whole] = matrix[whole:].T
        last[:, outputs - whole :] = 0
    return packed


def unpack(width: int, panel: int, packed: np.ndarray, outputs: int) -> np.ndarray:
    """The matrix that :func:`pack` was given, transposed.

    Parameters
    ----------
    width, panel : int
        As they were for packing.
    packed : ndarray of float32, shape (inputs * outputs rounded up to a multiple of width,)
    outputs : int

    Returns
    -------
    ndarray of float32, shape (inputs, outputs)
    """
    padded = -(-outputs // width) * width
    inputs = len(packed) // padded
    matrix = np.empty((inputs, outputs), np.float32)
    for start in range(0, padded, panel):
        stop = min(start + panel, padded)
        block = packed[start * inputs : stop * inputs].reshape(inputs, stop - start)
        there = min(stop, outputs) - start
        matrix[:, start : start + there] = block[:, :there]
    return matrix


def with_arrays(parameters: Parameters, convert: Callable[[str, Any], Any]) -> Parameters:
    """Parameters with others in the place of their arrays; what several share, they share again.

    Parameters
    ----------
    parameters : NamedTuple
        Of arrays, matrices of any kind, tuples, and NamedTuples like this.
    convert : callable
        Makes what stands for an array or a matrix, given its field and itself.
    """
    made: dict[int, Any] = {}

    def other(value: Any, field: str = "") -> Any:
        if isinstance(value, np.ndarray) or hasattr(value, "outputs"):  # a matrix of any kind
            if id(value) not in made:
                made[id(value)] = convert(field, value)
            return made[id(value)]
        if hasattr(value, "_fields"):  # a NamedTuple
            return type(value)(*map(other, value, value._fields))
        return tuple(map(other, value)) if isinstance(value, tuple) else value

    found: Parameters = other(parameters)
    return found


def is_int8(parameters: object) -> bool:
    """Whether a matrix among them is int8 with a scale for each output: then a network is."""

    def is_one(value: Any) -> bool:
        if isinstance(value, tuple):
            return any(map(is_one, value))
        is_matrix = hasattr(value, "outputs")  # of any kind, as in with_arrays
        return is_matrix and value.dtype == "int8_per_channel"

    return is_one(parameters)
