"""What a network does while it is measured, whether it looks at pictures or reads a text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from vimnp.engine.costs import Cost
    from vimnp.measure.profiling import Profile


class Pass(Protocol):
    """What a network is measured at, again and again."""

    @property
    def name(self) -> str:
        """Tells it from others that the network is measured at."""

    @property
    def units(self) -> int:
        """Pictures or tokens that go through in a call."""

    def prepare(self, model: Any) -> Callable[[], object]:
        """What is called, for its time to be taken."""

    def bytes(self, model: Any) -> int | None:
        """What a call has to read and write, where that is its limit."""

    def profile(self, model: Any) -> Profile:
        """Where the time of it goes, once."""

    def costs(self, model: Any) -> dict[str, Cost]:
        """What it takes, by operation, once."""


class Passes(NamedTuple):
    """All that a network is measured at.

    Parameters
    ----------
    passes : sequence of Pass
        The first is the one that is looked into.
    unit : {"pictures", "tokens"}
        What goes through the network.
    warm_up, burst : int
        Calls of a turn that do not count, and those that do.
    sizes : str
        How much goes through, in words.
    facts : dict
        The same for JSON, beside what all networks have.
    """

    passes: Sequence[Pass]
    unit: str
    warm_up: int
    burst: int
    sizes: str
    facts: dict[str, Any]
