"""The native backend: a network's programs, run whole in one compiled parallel region."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from vimnp.engine.arena import SpareMemory
from vimnp.engine.packing import PackedMatrix, Packing, with_arrays
from vimnp.engine.program import Program
from vimnp.engine.trace import Trace
from vimnp.ops.kernels import threads_for
from vimnp.runtime import extension

if TYPE_CHECKING:
    from vimnp import _scan


class CompiledNetwork:
    """A network on the instruction set that is in use when it is made.

    Its programs are built when they are first asked for, and kept.

    Parameters
    ----------
    load : callable
        Gives the parameters, with each matrix laid out by the function that it is given.
    build : callable
        Gives the program for an output from these parameters.
    channels : int
        The most columns that a stage splits: more threads than these have vectors would find
        nothing to do.
    num_threads : int

    Raises
    ------
    ConfigError
        If the kernels are missing, or one of them is switched off.
    """

    def __init__(
        self,
        load: Callable[[Callable[..., PackedMatrix]], Any],
        build: Callable[[Any, Any], Program],
        channels: int,
        num_threads: int,
    ) -> None:
        self.kernels = extension.for_network()
        self._parameters = load(Packing(self.kernels.width, self.kernels.panel).pack)
        self.inputs_at_once = self.kernels.inputs_at_once
        self._build = build
        self._programs: dict[Hashable, tuple[_scan.Program, Program]] = {}
        self._most_threads = -(-channels // self.kernels.width)
        self.num_threads = min(num_threads, self._most_threads)
        self._spares = SpareMemory()

    @property
    def instruction_set(self) -> str | None:
        """Of the kernels."""
        return self.kernels.name

    def plain(self) -> Any:
        """The parameters in no backend's layout."""
        return with_arrays(
            self._parameters,
            lambda _, array: array.unpack() if isinstance(array, PackedMatrix) else array,
        )

    def with_settings(self, *, scan: str, num_threads: int) -> Self:
        """The same network, on the same weights in memory, with another number of threads."""
        other = copy.copy(self)
        other.num_threads = min(num_threads, self._most_threads)
        return other

    def threads_of_products(self) -> AbstractContextManager[None]:
        """Nothing: NumPy multiplies nothing here."""
        return nullcontext()

    def program(self, output: Hashable) -> Program:
        """How the network gets to an output."""
        return self._program(output)[1]

    def _program(self, output: Hashable) -> tuple[_scan.Program, Program]:
        found = self._programs.get(output)
        if found is None:
            described = self._build(self._parameters, output)
            found = self._programs[output] = (self.kernels.program(described), described)
        return found

    def forward(
        self,
        inputs: Sequence[np.ndarray],
        out: np.ndarray,
        *,
        output: Hashable,
        state: None = None,
        trace: Trace | None = None,
    ) -> None:
        """What is asked for of some inputs, in one region."""
        program, described = self._program(output)
        num_threads = threads_for("forward", described.elements, self.num_threads)
        records = None if trace is None else trace.records(num_threads, described.labels)
        with self._spares.one(program.workspace_size(num_threads)) as memory:
            program.forward(
                [np.require(each, requirements=["C", "ALIGNED"]) for each in inputs],
                out.reshape(len(out), -1),
                memory,
                num_threads=num_threads,
                spans=records,
            )
