"""A figure that vimnp is to reach, and the table of all that a comparison has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from surroundings import table

REACH = """\
What vimnp is to reach on two cores with {wanted}{lacks}; bold is what it misses:"""


class Target(NamedTuple):
    """A target and the figure that it is for.

    Parameters
    ----------
    what : str
    bound : float
    is_most : bool
        Whether the figure may be at most the bound, rather than at least.
    figure : float or None
        None if the record has nothing to take it from.
    write : callable
        Makes a text of either number.
    """

    what: str
    bound: float
    is_most: bool
    figure: float | None
    write: Callable[[float], str]

    @property
    def is_reached(self) -> bool:
        if self.figure is None:
            return False
        return self.figure <= self.bound if self.is_most else self.figure >= self.bound

    @property
    def cells(self) -> tuple[str, str, str]:
        """Of a table: what, bound and figure, which is bold where it misses."""
        bound = f"{'at most' if self.is_most else 'at least'} {self.write(self.bound)}"
        if self.figure is None:
            return self.what, bound, "not measured"
        figure = self.write(self.figure)
        return self.what, bound, figure if self.is_reached else f"**{figure}**"


def print_targets(targets: Iterable[Target], wanted: Sequence[str], lacks: Sequence[str]) -> None:
    """A table, and before it for which instructions the targets are and which this CPU lacks."""
    missing = f" (this one has no {' or '.join(lacks)})" if lacks else ""
    print(REACH.format(wanted=" and ".join(wanted), lacks=missing), end="\n\n")
    print(target_table(targets))


def target_table(targets: Iterable[Target]) -> str:
    return table(("what", "to reach", "measured"), (target.cells for target in targets))
