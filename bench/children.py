"""Programs in processes of their own: the time that one takes from its start."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping, Sequence

import numpy as np


def seconds_of(commands: Mapping[str, Sequence[object]], rounds: int) -> dict[str, float]:
    """Median seconds from the start of each command's process to its end, all in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            start = time.perf_counter()
            subprocess.run([*map(str, command)], check=True, stdout=subprocess.DEVNULL)
            seconds[name].append(time.perf_counter() - start)
    return {name: float(np.median(values)) for name, values in seconds.items()}
