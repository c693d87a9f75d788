"""Two builds of vimnp in turn: time of passes, of loading, and memory, before and after a change.

    python bench/builds.py --other PYTHON [--rounds 10] [--only PATTERN]

PYTHON is one that has the other build. Each figure is the median over pairs of processes, one of
each build: of what a process takes in all, or of its median pass. To pass, both live side by side
and take turns, since a machine's speed changes within the seconds that a process takes. Either
build goes first as often.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import checkout  # noqa: F401  (finds tests.support)
from surroundings import begin, print_table

from tests.support.processes import peak_memory

PASSES = """
import sys, time, numpy, vimnp
backend, threads, side = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
config = vimnp.VimConfig(img_size=(side, side))
model = vimnp.VimTiny.random(config=config, backend=backend, num_threads=threads)
image = numpy.random.default_rng(0).standard_normal((3, side, side)).astype(numpy.float32)
for _ in range(5):
    model(image)
print("ready", flush=True)
for _ in sys.stdin:
    start = time.perf_counter()
    model(image)
    print(1e3 * (time.perf_counter() - start), flush=True)
"""
MEMORY = """
import sys, numpy, vimnp
model = vimnp.VimTiny.random(backend=sys.argv[1])
model(numpy.zeros((3, 224, 224), numpy.float32))
"""
START = """
import time
start = time.perf_counter()
import vimnp
model = vimnp.load("digits", backend="native")
import numpy
model(numpy.zeros((3, 32, 32), numpy.float32))
print(1e3 * (time.perf_counter() - start))
"""

DIGIT = next((Path(__file__).parents[1] / "tests" / "data").glob("digit_7_*.png"))

Pair = tuple[float, float]

ELSEWHERE = Path("/")  # in a checkout its own vimnp would come first


REST = 0.004
"""Seconds between two passes, in which the threads of the last one stop to look for work."""


class PassingProcess:
    """A process of a build that passes once whenever it is told to."""

    def __init__(self, python: str, backend: str, threads: int, side: int) -> None:
        command = [python, "-c", PASSES, backend, str(threads), str(side)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ELSEWHERE
        )
        self._line()

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"the process ended: {shlex.join(map(str, self._process.args))}")
        return line

    def milliseconds(self) -> float:
        time.sleep(REST)
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._line())

    def __enter__(self) -> PassingProcess:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.communicate()


def pass_in_turn(first: str, second: str, *, backend: str, threads: int, side: int) -> Pair:
    """The median pass of a process of either build, in milliseconds."""
    with (
        PassingProcess(first, backend, threads, side) as one,
        PassingProcess(second, backend, threads, side) as other,
    ):
        passes: list[Pair] = []
        for turn in range(40 * 224 // side):
            if turn % 2:
                late = other.milliseconds()
                passes.append((one.milliseconds(), late))
            else:
                early = one.milliseconds()
                passes.append((early, other.milliseconds()))
    ones, others = zip(*passes, strict=True)
    return statistics.median(ones), statistics.median(others)


def one_after_the_other(measure: Callable[..., float]) -> Callable[[str, str], Pair]:
    """``measure(python=...)`` of both builds."""
    return lambda first, second: (measure(python=first), measure(python=second))


def printed(code: str, *arguments: object, python: str) -> float:
    """What a process prints."""
    command = [python, "-c", code, *map(str, arguments)]
    return float(subprocess.run(command, check=True, capture_output=True, cwd=ELSEWHERE).stdout)


def milliseconds(*command: object, python: str) -> float:
    """A whole process of the ``vimnp`` command that stands beside Python."""
    start = time.perf_counter()
    subprocess.run(
        [Path(python).with_name("vimnp"), *command],
        check=True,
        capture_output=True,
        cwd=ELSEWHERE,
    )
    return 1e3 * (time.perf_counter() - start)


def megabytes(code: str, *arguments: object, python: str) -> float:
    """Peak memory of a process."""
    return peak_memory(code, *arguments, python=python, cwd=ELSEWHERE) / 1e6


MEASUREMENTS: dict[str, Callable[[str, str], Pair]] = {
    **{
        f"{backend}, {threads} thread{'s' * (threads > 1)}, {side}x{side}, ms": partial(
            pass_in_turn, backend=backend, threads=threads, side=side
        )
        for backend, side in (("native", 224), ("native", 448), ("numpy", 224))
        for threads in (1, 2)
    },
    "peak memory, native, MB": one_after_the_other(partial(megabytes, MEMORY, "native")),
    "peak memory, numpy, MB": one_after_the_other(partial(megabytes, MEMORY, "numpy")),
    "import, load and one pass of the bundled model, ms": one_after_the_other(
        partial(printed, START)
    ),
    "`vimnp predict` of a scan, the whole process, ms": one_after_the_other(
        partial(milliseconds, "predict", DIGIT)
    ),
}


def measured_pair(
    measure: Callable[[str, str], Pair], one: str, other: str, in_order: bool
) -> Pair:
    """What both builds take; the first of them may go last."""
    if in_order:
        return measure(one, other)
    late, early = measure(other, one)
    return early, late


def rows(other: str, rounds: int, only: str) -> Iterator[tuple[str, ...]]:
    """What, of the other build, of this one, and the ratio of both in turn."""
    for name, measure in MEASUREMENTS.items():
        if not re.search(only, name):
            continue
        pairs = [
            measured_pair(measure, other, sys.executable, turn % 2 == 0) for turn in range(rounds)
        ]
        before, after = (statistics.median(values) for values in zip(*pairs, strict=True))
        ratio = statistics.median(b / a for a, b in pairs)
        yield name, f"{before:.1f}", f"{after:.1f}", f"{ratio:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--other", metavar="PYTHON", required=True)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--only", metavar="PATTERN", default="", help="of the rows' names")
    options = parser.parse_args()
    begin()
    # An installed package's modules are compiled once; these processes are to do so, too.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    columns = ("what", "the other build", "this build", "this over the other, median of pairs")
    print_table(columns, rows(options.other, options.rounds, options.only))


if __name__ == "__main__":
    main()
