"""Both backends, step by step, and DeiT-tiny in ONNX Runtime: prints the tables of bench/README.md.

    python bench/bench_backends.py [--rounds 20]
    pytest bench/bench_backends.py

What is compared is measured in turn, in one run; every figure is a median. Threads of NumPy's BLAS
and of ONNX Runtime spin for a while after their work, so that each call waits before it and is
warmed up. "scan" holds dt_proj, which the native backend computes for 32 tokens at a time.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import checkout  # noqa: F401  (finds tests.support)
import numpy as np
import pytest
from breakdown import peak_rate, step
from deit_tiny import deit_session
from limits import BLAS, PAUSE, Call, forward_pass, medians, network, pixels, with_threads
from surroundings import print_table, rounds_asked_for

import vimnp
from tests.support.processes import peak_memory
from tests.support.random_weights import write_random
from vimnp.engine.settings import BACKENDS
from vimnp.measure.profiling import Profile, median_seconds, profile
from vimnp.models.precision import Precision

SIDES = (224, 448, 672)
WARM = 3  # passes before one that counts


def backend_pass(
    backend: str, num_threads: int, side: int = 224, precision: Precision = "float32"
) -> Call:
    call = forward_pass(*network(side, num_threads, backend, precision))
    return with_threads(call, num_threads) if backend == "numpy" else call


def transformer(
    blockwise: bool, num_threads: int, side: int = 224, precision: Precision = "float32"
) -> Call:
    return partial(deit_session(side, num_threads, blockwise, precision), pixels(side))


TRANSFORMERS: dict[str, Callable[[int, int], Call]] = {
    "DeiT-tiny, exported": partial(transformer, False),
    "DeiT-tiny, blockwise attention": partial(transformer, True),
}

NETWORKS: dict[str, Callable[[int, int], Call]] = {
    **{backend: partial(backend_pass, backend) for backend in BACKENDS},
    **TRANSFORMERS,
    "native, int8": partial(backend_pass, "native", precision="int8"),
    "DeiT-tiny, exported, int8": partial(transformer, False, precision="int8"),
    "DeiT-tiny, blockwise attention, int8": partial(transformer, True, precision="int8"),
}


# ---- Whole passes --------------------------------------------------------------------------------


def passes(rounds: int) -> dict[tuple[str, int, int], float]:
    """Seconds by network, threads and side."""
    found = {}
    for side in SIDES:
        calls: dict[Any, Call] = {
            (name, num_threads, side): call(num_threads, side)
            for num_threads in (1, 2)
            for name, call in NETWORKS.items()
        }
        found |= medians(calls, max(rounds * 224 // side, 3), burst=2, pause=PAUSE)
    return found


def ratios(seconds: dict[tuple[str, int, int], float]) -> Iterator[tuple[str, str, str]]:
    """What, at most, measured."""

    def row(
        what: str, most: str, over: tuple[str, int, int], under: tuple[str, int, int]
    ) -> tuple[str, str, str]:
        return what, most, f"{seconds[over] / seconds[under]:.2f}x"

    yield row("native over numpy, 2 threads", "0.68x", ("native", 2, 224), ("numpy", 2, 224))
    yield row("native over numpy, 1 thread", "0.97x", ("native", 1, 224), ("numpy", 1, 224))
    yield row("native, 2 threads over 1", "0.55x", ("native", 2, 224), ("native", 1, 224))
    targets = {(224, 1): "1.25x", (224, 2): "1.05x", (448, 2): "0.80x", (672, 2): "0.50x"}
    for name in TRANSFORMERS:
        for (side, num_threads), most in targets.items():
            what = f"native over {name}, {side}, {num_threads} threads"
            yield row(what, most, ("native", num_threads, side), (name, num_threads, side))
    ours = "native, int8"
    for num_threads, most in ((1, "0.52x"), (2, "0.56x")):
        what = f"{ours}, over native, {num_threads} threads"
        yield row(what, most, (ours, num_threads, 224), ("native", num_threads, 224))
    for name in TRANSFORMERS:
        for side, most in ((224, "1.25x"), (448, "0.74x"), (672, "0.47x")):
            what = f"{ours}, over {name}, int8, {side}, 1 thread"
            yield row(what, most, (ours, 1, side), (f"{name}, int8", 1, side))


def steadiness(rounds: int) -> Iterator[tuple[str, str, str]]:
    """What more threads than cores, and a busy neighbour, do to a pass of 224x224."""
    calls: dict[Any, Call] = {n: backend_pass("native", n) for n in (2, 3, 4, 8, 16)}
    found = medians(calls, rounds, burst=2)
    worst = max(found, key=lambda number: found[number])
    ratio = f"{found[worst] / found[2]:.2f}x ({worst} threads)"
    yield "native, any number of threads from 3 to 16 over 2", "-", ratio
    for backend in BACKENDS:
        calls = {n: backend_pass(backend, n) for n in (1, 2)}
        with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as neighbour:
            try:
                found = medians(calls, rounds, burst=2, pause=PAUSE)
            finally:
                neighbour.kill()
        what = f"{backend}, 2 threads over 1, while another process has one of the cores"
        yield what, "-", f"{found[2] / found[1]:.2f}x"


# ---- Steps ---------------------------------------------------------------------------------------


def profiled(num_threads: int, backend: str) -> Callable[[], Profile]:
    model, image = network(224, num_threads, backend)

    def run() -> Profile:
        with BLAS.limit(limits=num_threads):
            return profile(model, image)

    return run


class Breakdown:
    """Where the time of a pass goes: medians of passes in turn, and of the peak beside them.

    Each pass follows three of its own that do not count, which wake the threads and fill the cache.
    """

    def __init__(self, rounds: int) -> None:
        passes = {
            "1": profiled(1, "native"),
            "2": profiled(2, "native"),
            "numpy": profiled(1, "numpy"),
        }
        found: dict[str, list[Profile]] = {name: [] for name in passes}
        peaks = []
        for _ in range(rounds):
            peaks.append(peak_rate())
            for name, run in passes.items():
                for _ in range(WARM):
                    run()
                found[name].append(run())
        self.steps = {name: median_seconds(profiles, step) for name, profiles in found.items()}
        self.whole = {
            name: float(np.median([p.seconds for p in profiles]))
            for name, profiles in found.items()
        }
        self.gigaflops = 2e-9 * float(np.median(peaks))
        costs = vimnp.VimTiny.random(backend="native").costs()
        seconds = [p.seconds_by(step) for p in found["1"]]
        self.shares = {
            name: float(
                np.median([costs[name].flops / 2 / s[name] for s in seconds] / np.array(peaks))
            )
            for name in ("embed", "in_proj", "x_proj", "out_proj", "head")
        }

    def rows(self) -> Iterator[tuple[str, ...]]:
        """Step, milliseconds in NumPy and native, share of the peak, milliseconds on 2 threads."""
        columns = [self.steps[name] for name in ("numpy", "1", "2")]
        for name in dict.fromkeys([*columns[1], *columns[0]]):
            times = [milliseconds(column.get(name)) for column in columns]
            share = f"{self.shares[name]:.0%}" if name in self.shares else ""
            yield name, *times[:2], share, times[2]
        times = [milliseconds(self.whole[name]) for name in ("numpy", "1", "2")]
        yield "whole", *times[:2], "", times[2]

    def limits(self) -> Iterator[tuple[str, str, str]]:
        """What, at most or least, measured."""
        for name in ("in_proj", "out_proj"):
            what = f"{name}, share of the measured peak ({self.gigaflops:.0f} GFLOP/s), 1 thread"
            yield what, "at least 85 %", f"{self.shares[name]:.0%}"
        rest = sum(self.steps["1"][name] for name in ("embed", "norm", "conv1d", "pool", "wait"))
        share = rest / self.whole["1"]
        yield "neither layers' products nor scans, share of a native pass", "8 %", f"{share:.1%}"


def milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1e3:.2f}"


# ---- Memory --------------------------------------------------------------------------------------

ONE_PICTURE = """
import sys, numpy, vimnp
model = vimnp.VimTiny.from_npz(sys.argv[1], backend=sys.argv[2])
model(numpy.zeros((3, 224, 224), numpy.float32))
"""


def memory_of_backends() -> dict[str, float]:
    """Megabytes of a process that loads Vim-tiny and classifies a picture, by backend."""
    with tempfile.TemporaryDirectory() as folder:
        path = write_random(Path(folder, "tiny.npz"), vimnp.config.VIM_TINY)
        return {
            backend: float(np.median([peak_memory(ONE_PICTURE, path, backend) for _ in range(5)]))
            / 1e6
            for backend in BACKENDS
        }


def memory_row() -> tuple[str, str, str]:
    found = memory_of_backends()
    ratio = found["native"] / found["numpy"]
    what = f"peak memory over the NumPy backend's ({found['numpy']:.0f} MB)"
    return what, "1.0x", f"{ratio:.2f}x"


# ---- Output --------------------------------------------------------------------------------------


def main() -> None:
    rounds = rounds_asked_for(__doc__, 20)
    seconds = passes(rounds)
    print_table(("network", "threads", *map(str, SIDES)), pass_rows(seconds))
    steps = Breakdown(rounds)
    columns = ("step", "numpy, 1 thread", "native, 1 thread", "of peak", "native, 2 threads")
    print_table(columns, steps.rows())
    print_table(
        ("what", "at most", "measured"),
        [*ratios(seconds), *steps.limits(), memory_row(), *steadiness(rounds)],
    )


def pass_rows(seconds: dict[tuple[str, int, int], float]) -> Iterator[tuple[str, ...]]:
    for name in NETWORKS:
        for number in (1, 2):
            cells = (f"{seconds[name, number, side] * 1e3:.1f} ms" for side in SIDES)
            yield name, str(number), *cells


# ---- pytest-benchmark ----------------------------------------------------------------------------


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize("name", NETWORKS)
def test_passes(benchmark, name, num_threads, side):
    benchmark.group = f"{side}x{side}, {num_threads} threads"
    call = NETWORKS[name](num_threads, side)
    benchmark.pedantic(call, setup=partial(time.sleep, PAUSE), rounds=10, warmup_rounds=2)


def test_the_tables_are_made():
    steps = Breakdown(1)
    assert list(steps.rows())
    assert list(steps.limits())


if __name__ == "__main__":
    main()
