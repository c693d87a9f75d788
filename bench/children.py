"""Python in processes of its own: what one takes of memory, and of time from its start."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

import numpy as np

# Not getrusage's maximum, which a process takes over from the one that started it.
_PEAK = """
import re
print("peak", re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
"""


def peak_memory(code: str, *arguments: object) -> int:
    """Run code in a process of its own; its peak resident memory in bytes (Linux)."""
    command = [sys.executable, "-c", code + _PEAK, *map(str, arguments)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return 1024 * int(done.stdout.split("peak ")[-1])


def seconds_of(commands: Mapping[str, Sequence[object]], rounds: int) -> dict[str, float]:
    """Median seconds from the start of each command's process to its end, all in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            start = time.perf_counter()
            subprocess.run([*map(str, command)], check=True, stdout=subprocess.DEVNULL)
            seconds[name].append(time.perf_counter() - start)
    return {name: float(np.median(values)) for name, values in seconds.items()}
