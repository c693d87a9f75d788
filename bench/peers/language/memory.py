"""Memory in a process: prints its bytes, and for every line of input the seconds of reading it."""

from __future__ import annotations

import json
import sys

from memory_rate import Memory

READS = 3  # of a turn


def main(num_threads: str) -> None:
    """Read it with a whole number of threads."""
    memory = Memory(int(num_threads))
    print(json.dumps(memory.size), flush=True)
    for _ in sys.stdin:
        print(json.dumps([memory.read() for _ in range(READS)]), flush=True)
