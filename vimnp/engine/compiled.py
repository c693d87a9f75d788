"""The native backend: a network's programs, run whole in one compiled parallel region."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np

from vimnp.engine.arena import SpareMemory
from vimnp.engine.packing import PackedMatrix, Packing, with_arrays
from vimnp.engine.program import Program
from vimnp.ops.kernels import threads_for
from vimnp.runtime import extension

if TYPE_CHECKING:
    from vimnp import _scan
    from vimnp.engine.state import State
    from vimnp.engine.trace import Trace

_MOST_PROGRAMS = 32
"""Kept of a network: a language model has one for each length of a prompt's last chunk."""


_Ready: TypeAlias = "tuple[_scan.Program, tuple[str, ...], int]"
"""A program that can run, the names of its operations, and how much there is to split."""


class CompiledNetwork:
    """A network on the instruction set that is in use when it is made.

    Its programs are built when they are first asked for, and some are kept.

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
        self._programs: dict[Hashable, _Ready] = {}
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

    def described(self, output: Hashable) -> Program:
        """The program that gets to an output, made anew."""
        return self._build(self._parameters, output)

    def _program(self, output: Hashable) -> _Ready:
        """How the network gets to an output; its description is not kept, which is large."""
        found = self._programs.get(output)
        if found is None:
            described = self.described(output)
            compiled = self.kernels.program(described)
            found = compiled, described.labels, described.elements
            while len(self._programs) >= _MOST_PROGRAMS:  # the oldest makes room
                self._programs.pop(next(iter(self._programs)), None)
            self._programs[output] = found
        return found

    def forward(
        self,
        inputs: Sequence[np.ndarray],
        out: np.ndarray,
        *,
        output: Hashable,
        state: State | None = None,
        trace: Trace | None = None,
    ) -> None:
        """What is asked for of some inputs, in one region."""
        program, labels, elements = self._program(output)
        num_threads = threads_for("forward", elements, self.num_threads)
        records = None if trace is None else trace.records(num_threads, labels)
        with self._spares.one(program.workspace_size(num_threads)) as memory:
            program.forward(
                [np.require(each, requirements=["C", "ALIGNED"]) for each in inputs],
                out.reshape(len(inputs), -1),
                memory,
                state=None if state is None else state.memory.reshape(-1),
                num_threads=num_threads,
                spans=records,
            )
