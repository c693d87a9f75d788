"""What networks in NumPy share: their settings, and how the time of their steps is noted."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar

from vimnp.engine.packing import transposed
from vimnp.engine.trace import Trace
from vimnp.runtime import blas, extension

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
        self._parameters = load(transposed)

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
        """The parameters in no backend's layout, which is this one's."""
        return self._parameters

    def threads_of_products(self) -> AbstractContextManager[None]:
        """Within this, NumPy's products have as many threads as in a pass."""
        return blas.one_thread() if self._limits_blas else nullcontext()
