"""What a network is to its callers, whichever backend it runs on."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np

from vimnp.engine.trace import Trace

if TYPE_CHECKING:
    from vimnp._scan import Kernels
    from vimnp.engine.state import State


class Network(Protocol):
    """A network's arithmetic, with its weights as its backend reads them."""

    num_threads: int
    """The most that it uses."""

    inputs_at_once: int
    """Inputs of a pass, at most."""

    @property
    def instruction_set(self) -> str | None:
        """Of the kernels; None in plain NumPy."""

    @property
    def kernels(self) -> Kernels | None:
        """What multiplies the matrices; None where NumPy does."""

    def forward(
        self,
        inputs: Sequence[np.ndarray],
        out: np.ndarray,
        *,
        output: Hashable,
        state: State | None = None,
        trace: Trace | None = None,
    ) -> None:
        """What is asked for of some inputs.

        Parameters
        ----------
        inputs : arrays of float32, or of intc
            Pictures, or ids of tokens; `inputs_at_once` of them at most.
        out : ndarray of float32, shape (inputs, ...), C-contiguous
        output : hashable
            What is asked for of each, in the words of the network's family.
        state : State, optional
            What the network goes on from, and where it leaves what the next pass goes on from: of
            a network that carries anything.
        trace : Trace, optional
            Where the time of each operation is noted.
        """

    def threads_of_products(self) -> AbstractContextManager[None]:
        """Within this, NumPy's products have as many threads as in a pass."""

    def with_settings(self, *, scan: str, num_threads: int) -> Self:
        """The same network, on the same weights in memory, run in another way."""

    def plain(self) -> Any:
        """The weights in no backend's layout, for a pickle."""
