"""Programs in processes of their own: the time that one takes from its start."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np


def seconds_of(commands: Mapping[str, Sequence[object]], rounds: int) -> dict[str, float]:
    """Median seconds from the start of each command's process to its end, all in turn."""

    def run(command: Sequence[str]) -> float:
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - start

    return _medians(run, commands, rounds)


def seconds_to_output(commands: Mapping[str, Sequence[object]], rounds: int) -> dict[str, float]:
    """Median seconds from the start of each command's process to its first output, all in turn."""

    def run(command: Sequence[str]) -> float:
        start = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            first = process.stdout.read(1)
            seconds = time.perf_counter() - start
            process.stdout.read()  # or it would be told that nobody listens
        if process.returncode or not first:
            raise subprocess.CalledProcessError(process.returncode, command)
        return seconds

    return _medians(run, commands, rounds)


def _medians(
    run: Callable[[Sequence[str]], float],
    commands: Mapping[str, Sequence[object]],
    rounds: int,
) -> dict[str, float]:
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            seconds[name].append(run([*map(str, command)]))
    return {name: float(np.median(values)) for name, values in seconds.items()}
