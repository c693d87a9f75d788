"""What networks in NumPy share: their settings, and how the time of their steps is noted."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Self, TypeAlias, TypeVar

import numpy as np

from vimnp.engine.arena import Allocate
from vimnp.engine.packing import is_int8, transposed, with_arrays
from vimnp.engine.trace import Trace
from vimnp.runtime import blas, extension

if TYPE_CHECKING:
    from vimnp.engine.int8_product import Int8Matrix
    from vimnp.weights.encodings import Encoded

    NumpyMatrix: TypeAlias = np.ndarray | Int8Matrix
    """A matrix (inputs, outputs), as :func:`multiply` takes it."""

Arguments = ParamSpec("Arguments")
Parameters = TypeVar("Parameters")
Result = TypeVar("Result")


class Pass:
    """Where a pass is; each family's own has the arrays that its steps read and write."""

    def __init__(self) -> None:
        self.trace: Trace | None = None
        self.layer: int | None = None

    def span(self, operation: str) -> AbstractContextManager[None]:
        """Within this, time is the operation's, where it is noted at all."""
        return nullcontext() if self.trace is None else self.trace.span(operation, self.layer)


def operation(
    name: str,
) -> Callable[
    [Callable[Concatenate[Any, Any, Arguments], Result]],
    Callable[Concatenate[Any, Any, Arguments], Result],
]:
    """Make a method, whose first argument is a pass, one whose time is noted under this name."""

    def decorate(
        method: Callable[Concatenate[Any, Any, Arguments], Result],
    ) -> Callable[Concatenate[Any, Any, Arguments], Result]:
        @functools.wraps(method)
        def timed(
            self: Any, w: Pass, /, *arguments: Arguments.args, **options: Arguments.kwargs
        ) -> Result:
            with w.span(name):
                return method(self, w, *arguments, **options)

        return timed

    return decorate


def numpy_matrix(matrix: np.ndarray | Encoded, empty: Allocate) -> NumpyMatrix:
    """A copy of a matrix (outputs, inputs) as :func:`multiply` reads it.

    Whole numbers stay such where they have a scale for each output; all else becomes float32.
    """
    if not isinstance(matrix, np.ndarray):
        from vimnp.engine.int8_product import Int8Matrix
        from vimnp.weights.encodings import PER_CHANNEL

        if matrix.dtype == PER_CHANNEL:
            return Int8Matrix(matrix)
    return transposed(matrix, empty)


def multiply(x: np.ndarray, matrix: NumpyMatrix, out: np.ndarray) -> None:
    """``out = x @ matrix``: a product of floats, or one of whole numbers.

    Parameters
    ----------
    x : ndarray of float32, shape (tokens, inputs)
    matrix : ndarray of float32, shape (inputs, outputs), or Int8Matrix
    out : ndarray of float32, shape (tokens, outputs)
    """
    if isinstance(matrix, np.ndarray):
        np.matmul(x, matrix, out=out)
    else:
        matrix.multiply(x, out)


class NumpyNetwork(Generic[Parameters]):
    """A network on NumPy's matrix products, and kernels for the rest.

    Parameters
    ----------
    load : callable
        Gives the parameters, with the matrices laid out as the function that it is given does.
    num_threads : int
        Of the kernels.
    scan : str
        How to scan; see :func:`vimnp.ops.selective_scan_bidirectional`.
    """

    inputs_at_once = 1
    kernels = None

    def __init__(self, load: Callable[[Any], Parameters], num_threads: int, scan: str) -> None:
        self.num_threads = num_threads
        self._scan_mode = scan
        self._chosen = extension.choose()
        self._limits_blas = blas.is_limited()
        self._parameters = load(numpy_matrix)

    @property
    def instruction_set(self) -> str | None:
        """Of the kernels; None in plain NumPy."""
        return self._chosen.instruction_set

    def with_settings(self, *, scan: str, num_threads: int) -> Self:
        """The same network, on the same weights in memory, run in another way."""
        other = copy.copy(self)
        other._scan_mode, other.num_threads = scan, num_threads
        return other

    def plain(self) -> Parameters:
        """The parameters in no backend's layout: this one's, with whole numbers encoded."""
        if not is_int8(self._parameters):
            return self._parameters
        return with_arrays(self._parameters, lambda _, matrix: getattr(matrix, "encoded", matrix))

    def threads_of_products(self) -> AbstractContextManager[None]:
        """Within this, NumPy's products have as many threads as in a pass."""
        return blas.one_thread() if self._limits_blas else nullcontext()
