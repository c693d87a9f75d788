"""What ONNX Runtime and OpenVINO have in common: the two graphs of ``onnx_mamba.py``.

States stay where the one pass writes and the next one reads them: two sets change places. The graph
for single tokens is loaded when the first of them comes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

Pass: TypeAlias = Callable[[np.ndarray], np.ndarray]
"""Maps ids to logits of all sequences, and moves the states on."""

States: TypeAlias = Mapping[str, Any]
"""Of a run-time's own tensors, by their names in the graph."""


class GraphRunner(ABC):
    """A :class:`Runner` of two graphs.

    Parameters
    ----------
    path : Path
        Of both graphs, without what their names end in.
    num_threads : int
    """

    def __init__(self, path: Path, num_threads: int) -> None:
        self._path = path
        self.num_threads = num_threads
        self._states: list[States] = []
        self._passes: list[Pass] = []

    def read(self, ids: np.ndarray) -> np.ndarray:
        before, after = self.empty(self._prompt, 1), self.empty(self._prompt, 1)
        logits = self.bind(self._prompt, len(ids), before, after)(ids)
        self._states, self._passes = [after, before], []
        return logits[0]

    def begin(self, batch: int) -> None:
        self._states = [self.empty(self._token, batch) for _ in range(2)]
        self._passes = []

    def step(self, ids: np.ndarray) -> np.ndarray:
        if not self._passes:
            one, other = self._states
            orders = (one, other), (other, one)
            self._passes = [self.bind(self._token, len(ids), *order) for order in orders]
        logits = self._passes[0](ids)
        self._passes.reverse()
        return logits

    @cached_property
    def _prompt(self) -> Any:
        return self.load(f"{self._path}_prompt.onnx")

    @cached_property
    def _token(self) -> Any:
        return self.load(f"{self._path}_token.onnx")

    @abstractmethod
    def load(self, path: str) -> Any:
        """The run-time's model of a graph."""

    @abstractmethod
    def empty(self, model: Any, batch: int) -> States:
        """States of zeros."""

    @abstractmethod
    def bind(self, model: Any, num_ids: int, before: States, after: States) -> Pass:
        """A pass that reads the one set of states and writes the other."""
