"""Times of calls that are compared with each other."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

Name = TypeVar("Name")
Result = TypeVar("Result")


def in_turn(
    calls: Mapping[Name, Callable[[], Result]],
    rounds: int,
    *,
    burst: int = 1,
    warm_up: int = 0,
    pause: float = 0.0,
    after_each: Callable[[], object] = lambda: None,
) -> dict[Name, list[Result]]:
    """Call each in turn, so that a disturbance meets all of them.

    Parameters
    ----------
    calls : mapping from a name to a function
    rounds : int
        How often it is each call's turn.
    burst : int
        How many calls of a turn count. Short calls want bursts: a core that has been idle for long
        takes its time to wake.
    warm_up : int
        How many calls come before these.
    pause : float
        Seconds before each turn, in which threads of the call before come to rest.
    after_each : callable
        Called after each turn.

    Returns
    -------
    dict from each name to a list, rounds * burst long
        What the calls that count have returned.
    """
    results: dict[Name, list[Result]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            time.sleep(pause)
            for _ in range(warm_up):
                call()
            results[name] += [call() for _ in range(burst)]
            after_each()
    return results


def time_in_turn(
    calls: Mapping[Name, Callable[[], object]], rounds: int, **options: Any
) -> dict[Name, np.ndarray]:
    """Seconds of each call, in turn; the parameters are those of :func:`in_turn`.

    Returns
    -------
    dict from each name to an ndarray of float64, shape (rounds * burst,)
    """
    timed = {name: functools.partial(_seconds_of, call) for name, call in calls.items()}
    found = in_turn(timed, rounds, **options)
    return {name: np.array(seconds) for name, seconds in found.items()}


def _seconds_of(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
