"""A pass of Vim-tiny beside other processes that want the same cores.

    python bench/neighbours.py [--rounds 3] [--seconds 4] [--other PYTHON]

A process of its own makes the passes, one after the other. A neighbour is a process that does
nothing but keep a core busy. ``--other`` takes an interpreter that has another build of vimnp, an
older one for instance, and measures both in turn. Medians of all passes, and each over the same
way's alone.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from script_tables import neighbours
from surroundings import run

from vimnp.engine.settings import BACKENDS

PASSES = """
import sys, time
import numpy, vimnp
backend, threads, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
model = vimnp.VimTiny.random(backend=backend, num_threads=threads)
image = numpy.random.default_rng(0).standard_normal((3, 224, 224)).astype(numpy.float32)
for _ in range(3):
    model(image)
print("ready", flush=True)
sys.stdin.readline()
end = time.perf_counter() + seconds
while (begin := time.perf_counter()) < end:
    model(image)
    print(time.perf_counter() - begin, flush=True)
"""
NEIGHBOUR = "while True: pass"


class Surroundings(NamedTuple):
    """What else runs: busy neighbours, and how many processes make passes, on how many threads."""

    name: str
    neighbours: int = 0
    processes: int = 1
    threads_over_cpus: int = 1


SURROUNDINGS = (
    Surroundings("alone"),
    Surroundings("one busy neighbour", neighbours=1),
    Surroundings("two busy neighbours", neighbours=2),
    Surroundings("two processes of passes", processes=2),
    Surroundings("twice as many threads as CPUs", threads_over_cpus=2),
)


class Way(NamedTuple):
    """Which build of vimnp, and which backend."""

    python: str
    backend: str


@contextlib.contextmanager
def busy(number: int) -> Iterator[None]:
    """So many processes that keep a core busy."""
    with contextlib.ExitStack() as stack:
        for _ in range(number):
            neighbour = stack.enter_context(subprocess.Popen([sys.executable, "-c", NEIGHBOUR]))
            stack.callback(neighbour.kill)
        yield


def passes(way: Way, where: Surroundings, seconds: float) -> list[float]:
    """Seconds of each pass."""
    threads = where.threads_over_cpus * (os.cpu_count() or 1)
    environment = dict(os.environ)
    if where.threads_over_cpus > 1:  # of both pools
        environment["OPENBLAS_NUM_THREADS"] = str(threads)
    command = [way.python, "-c", PASSES, way.backend, str(threads), str(seconds)]
    with contextlib.ExitStack() as stack:
        running = [
            stack.enter_context(
                subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    env=environment,
                    cwd=Path(__file__).parent,  # no vimnp lies here, so the installed one runs
                )
            )
            for _ in range(where.processes)
        ]
        for process in running:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        with busy(where.neighbours):
            for process in running:
                assert process.stdin is not None
                process.stdin.write("\n")
                process.stdin.flush()
            lines = [line for p in running for line in p.communicate()[0].splitlines()]
    return [float(line) for line in lines]


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Figures: seconds of a pass, by what else runs and by way."""
    pythons = {"": sys.executable} | ({"other, ": options.other} if options.other else {})
    ways = {
        f"{name}{backend}": Way(python, backend)
        for name, python in pythons.items()
        for backend in BACKENDS
    }
    found: dict[tuple[str, str], list[float]] = {}
    for _ in range(options.rounds):
        for where in SURROUNDINGS:
            for name, way in ways.items():
                found.setdefault((where.name, name), []).extend(passes(way, where, options.seconds))
    rows = [
        {"surroundings": where, "way": way, "median": np.median(seconds), "passes": len(seconds)}
        for (where, way), seconds in found.items()
    ]
    return {"rounds": options.rounds, "passes": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="of all measurements (3)")
    parser.add_argument("--seconds", type=float, default=4, help="of each (4)")
    parser.add_argument("--other", metavar="PYTHON", help="with another build of vimnp")
    run(parser, measure, neighbours)


if __name__ == "__main__":
    main()
