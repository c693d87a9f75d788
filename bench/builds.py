"""Two builds of vimnp in turn: time of passes, of loading, and memory, before and after a change.

    python bench/builds.py --other PYTHON [--rounds 10] [--only PATTERN]

PYTHON is one that has the other build. Each figure is the median over processes that take turns: of
a process's median pass, or of what the process takes in all. Either build goes first as often.
"""

from __future__ import annotations

import argparse
import os
import re
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
seconds = []
for _ in range(5 + 40 * 224 // side):
    start = time.perf_counter()
    model(image)
    seconds.append(time.perf_counter() - start)
print(1e3 * float(numpy.median(seconds[5:])))
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

ELSEWHERE = Path("/")  # in a checkout its own vimnp would come first


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


MEASUREMENTS = {
    **{
        f"{backend}, {threads} thread{'s' * (threads > 1)}, {side}x{side}, ms": partial(
            printed, PASSES, backend, threads, side
        )
        for backend, side in (("native", 224), ("native", 448), ("numpy", 224))
        for threads in (1, 2)
    },
    "peak memory, native, MB": partial(megabytes, MEMORY, "native"),
    "peak memory, numpy, MB": partial(megabytes, MEMORY, "numpy"),
    "import, load and one pass of the bundled model, ms": partial(printed, START),
    "`vimnp predict` of a scan, the whole process, ms": partial(milliseconds, "predict", DIGIT),
}


def measured_pair(measure: Callable[..., float], other: str, first: bool) -> tuple[float, float]:
    """What the other build takes, which may go first, and this one."""
    order = (other, sys.executable) if first else (sys.executable, other)
    found = [measure(python=python) for python in order]
    return (found[0], found[1]) if first else (found[1], found[0])


def rows(other: str, rounds: int, only: str) -> Iterator[tuple[str, ...]]:
    """What, of the other build, of this one, and the ratio of both in turn."""
    for name, measure in MEASUREMENTS.items():
        if not re.search(only, name):
            continue
        pairs = [measured_pair(measure, other, turn % 2 == 0) for turn in range(rounds)]
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
