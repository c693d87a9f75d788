"""When something is to be done: as soon as a class has more, or less, than a score."""

from __future__ import annotations

import dataclasses
import operator
import re
from collections.abc import Callable, Mapping, Sequence

from vimnp.errors import ConfigError, excerpt
from vimnp.models.classes import as_target, class_index

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


@dataclasses.dataclass(frozen=True)
class Condition:
    """A class, and the scores that count.

    Parameters
    ----------
    text : str
        As it was given.
    index : int
        The class.
    sign : str
        One of ``>``, ``>=``, ``<``, ``<=``.
    bound : float
        0 to 1.
    """

    text: str
    index: int
    sign: str
    bound: float

    def holds(self, scores: Mapping[int, float]) -> bool:
        """Whether it holds for the scores of all classes, by their index."""
        return _OPERATORS[self.sign](scores[self.index], self.bound)


def parse_condition(text: str, labels: Sequence[str] | None, num_classes: int) -> Condition:
    """A condition as in "tabby>0.6".

    Raises
    ------
    ConfigError
        If it is none, or there is no such class, or several have the name.
    """
    # The sign is the last one: a label may have others.
    parts = re.fullmatch(r"(.*\S)\s*?(>=|<=|>|<)\s*([0-9]{0,9}\.?[0-9]{1,18})\s*", text, re.DOTALL)
    if parts is None or not 0 <= float(parts[3]) <= 1:
        raise ConfigError(
            f"--when {excerpt(text)}: expected a class and a score from 0 to 1, as in 'tabby>0.6' "
            "(the shell takes > unless it is quoted)"
        )
    target = as_target(parts[1].strip(), labels)
    index = class_index(target, labels, num_classes)
    return Condition(text, index, parts[2], float(parts[3]))


class Beginnings:
    """Tells when conditions begin to hold: once, until they have not held in between."""

    def __init__(self, conditions: Sequence[Condition]) -> None:
        self._held = dict.fromkeys(conditions, False)

    def of(self, scores: Mapping[int, float]) -> list[Condition]:
        """Those that hold for these scores, and did not for the ones before."""
        now = {condition: condition.holds(scores) for condition in self._held}
        begun = [condition for condition, held in self._held.items() if now[condition] and not held]
        self._held = now
        return begun
