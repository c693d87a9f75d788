"""Times of calls that are compared with each other."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np

Name = TypeVar("Name")


def time_in_turn(
    calls: Mapping[Name, Callable[[], object]],
    rounds: int,
    *,
    burst: int = 1,
    warm_up: int = 0,
    pause: float = 0.0,
    after_each: Callable[[], object] = lambda: None,
) -> dict[Name, np.ndarray]:
    """Time each call in turn, so that a disturbance meets all of them.

    Parameters
    ----------
    calls : mapping from a name to a function
    rounds : int
        How often it is each call's turn.
    burst : int
        How often a call is timed in its turn. Short calls want bursts: a core that has been idle
        for long takes its time to wake.
    warm_up : int
        How often it is called before that.
    pause : float
        Seconds before each turn, in which threads of the call before come to rest.
    after_each : callable
        Called after each turn.

    Returns
    -------
    dict from each name to an ndarray of float64, shape (rounds * burst,)
        Seconds.
    """
    seconds: dict[Name, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            time.sleep(pause)
            for _ in range(warm_up):
                call()
            for _ in range(burst):
                start = time.perf_counter()
                call()
                seconds[name].append(time.perf_counter() - start)
            after_each()
    return {name: np.array(values) for name, values in seconds.items()}
