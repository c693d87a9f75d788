"""What the parameters of all networks share: how tensors are read, and laid out anew."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import numpy as np

from vimnp.engine.arena import Arena
from vimnp.engine.packing import Matrix, PackMatrix, transposed, with_arrays
from vimnp.weights.family import Configuration, ReadTensor

if TYPE_CHECKING:
    from vimnp.weights.encodings import Encoded

AnyConfig = TypeVar("AnyConfig", bound=Configuration)
Parameters = TypeVar("Parameters")


class Norm(NamedTuple):
    """RMSNorm, or LayerNorm where there is a bias."""

    weight: np.ndarray  # (channels,)
    bias: np.ndarray | None  # (channels,)
    epsilon: float


def matrix_fields(*parts: type) -> frozenset[str]:
    """The fields of these NamedTuples that a :data:`PackMatrix` has made."""
    return frozenset(
        field
        for part in parts
        for field, kind in part.__annotations__.items()
        if str(getattr(kind, "__forward_arg__", kind)).startswith("Matrix")
    )


def laid_out(
    plain: Any,
    pack: PackMatrix[Any],
    matrices: frozenset[str],
    num_parameters: int,
    encoded: Callable[[str, np.ndarray], np.ndarray | Encoded] = lambda _, matrix: matrix,
) -> Any:
    """Lay out anew what a backend has laid out, and its ``plain`` has given, in one arena.

    Nothing is computed, so that the bits stay the same.

    Parameters
    ----------
    plain : NamedTuple
        A network's parameters, with matrices (inputs, outputs), or encoded.
    pack : callable
        Lays out a matrix that is multiplied with.
    matrices : frozenset of str
        The fields that are such.
    num_parameters : int
        Of the network.
    encoded : callable, optional
        Gives what is packed of a field's matrix (outputs, inputs).
    """
    arena = Arena.of(num_parameters)

    def other(field: str, array: np.ndarray | Encoded) -> Any:
        if not isinstance(array, np.ndarray):
            return pack(array, arena.empty)
        if field in matrices:
            return pack(encoded(field, array.T), arena.empty)
        return arena.copy(array)

    return with_arrays(plain, other)


class Loader(Generic[AnyConfig, Matrix]):
    """Reads a network's tensors, each once, and places them in one arena.

    Parameters
    ----------
    config : Configuration
    read : callable
        Gives each tensor of the network by name, in its shape. Called tensor by tensor, so that
        the original and the laid-out weights need not be in memory together.
    pack : callable
        Lays out a matrix that is multiplied with.
    """

    def __init__(self, config: AnyConfig, read: ReadTensor, pack: PackMatrix[Matrix]) -> None:
        self._config = config
        self._read = read
        self._pack = pack
        self._arena = Arena.of(config.num_parameters)
        self._tensors = config.tensors()
        self._is_encoded = False  # until a matrix shows that they are

    def _matrix(self, name: str) -> Matrix:
        """A tensor (outputs, inputs), as products read it: every matrix is read here.

        The reader may give it encoded, and as a tensor of more dimensions.
        """
        return self._packed(self._as_matrix(name))

    def _as_matrix(self, name: str) -> np.ndarray | Encoded:
        """A tensor (outputs, inputs), if the reader does not give it encoded."""
        tensor: np.ndarray | Encoded = self._read(name)
        if isinstance(tensor, np.ndarray):
            return tensor.reshape(self._tensors[name].as_matrix or tensor.shape)
        if not self._is_encoded:
            self._is_encoded = True
            self._arena.expect_less(self._saved())
        return tensor

    def _saved(self) -> int:
        """Floats that the arena need not hold where matrices of pictures have 8 bits a number."""
        matrices = (tensor.as_matrix for tensor in self._tensors.values())
        return sum(math.prod(matrix) * 3 // 4 for matrix in matrices if matrix is not None)

    def _packed(self, matrix: np.ndarray | Encoded) -> Matrix:
        return self._pack(matrix, self._arena.empty)

    def _vector(self, name: str) -> np.ndarray:
        return self._arena.copy(self._read(name))

    def _optional(self, name: str) -> np.ndarray | None:
        """A vector that only some networks have."""
        return self._vector(name) if name in self._tensors else None

    def _filter(self, name: str) -> np.ndarray:
        """A depthwise convolution's weight (channels, 1, taps) -> (taps, channels)."""
        return transposed(self._read(name)[:, 0], self._arena.empty)

    def _state_matrix(self, name: str) -> np.ndarray:
        """A scan's A_log (channels, states) -> A (states, channels)."""
        return transposed(-np.exp(self._read(name)), self._arena.empty)

    def _smoothed(self, norm: Norm, name: str) -> tuple[Norm, Matrix]:
        """A norm, and the matrix that alone reads what it gives, by its name.

        What smooths the matrix goes into the norm, which then has to be multiplied by once.
        """
        matrix = self._as_matrix(name)
        if isinstance(matrix, np.ndarray) or matrix.smooth is None:
            return norm, self._packed(matrix)
        with np.errstate(over="ignore"):  # as where activations are smoothed, logits show it
            for array in norm.weight, norm.bias:
                if array is not None:
                    array /= matrix.smooth
        return norm, self._packed(dataclasses.replace(matrix, smooth=None))

    def _norm(self, prefix: str, epsilon: float) -> Norm:
        bias = self._optional(f"{prefix}.bias")
        return Norm(self._vector(f"{prefix}.weight"), bias, epsilon)
