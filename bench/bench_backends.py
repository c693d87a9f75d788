"""Both backends, step by step, and DeiT-tiny in ONNX Runtime: prints the tables of bench/README.md.

    python bench/bench_backends.py [--rounds 20]
    pytest bench/bench_backends.py

What is compared is measured in turn, in one run; every figure is a median. Threads of NumPy's BLAS
and of ONNX Runtime spin for a while after their work, so that each call waits before it and is
warmed up. "scan" holds dt_proj, which the native backend computes for 32 tokens at a time.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from children import peak_memory
from deit_tiny import deit_session
from limits import Call, forward_pass, medians, network, pixels, with_threads
from random_weights import write_random
from surroundings import header, print_table, refusal

import vimnp
from vimnp import extension, kernels
from vimnp.backends import BACKENDS

SIDES = (224, 448, 672)
WARM = 3  # passes before one that counts
PAUSE = 0.1  # seconds; OpenBLAS spins for a fifth of it


def backend_pass(backend: str, num_threads: int, side: int = 224) -> Call:
    call = forward_pass(*network(side, num_threads, backend))
    return with_threads(call, num_threads) if backend == "numpy" else call


def transformer(blockwise: bool, num_threads: int, side: int = 224) -> Call:
    return partial(deit_session(side, num_threads, blockwise), pixels(side))


NETWORKS: dict[str, Callable[[int, int], Call]] = {
    **{backend: partial(backend_pass, backend) for backend in BACKENDS},
    "DeiT-tiny, exported": partial(transformer, False),
    "DeiT-tiny, blockwise attention": partial(transformer, True),
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
    for name in list(NETWORKS)[2:]:
        for (side, num_threads), most in targets.items():
            what = f"native over {name}, {side}, {num_threads} threads"
            yield row(what, most, ("native", num_threads, side), (name, num_threads, side))


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


Steps = dict[str, float]  # seconds of each step of a pass


def native_pass(num_threads: int) -> Callable[[], Steps]:
    """A pass that gives the calling thread's time for each step."""
    model, image = network(224, num_threads, "native")
    compiled, native = extension.loaded(), model._native
    assert compiled is not None
    assert native is not None
    out = np.empty((1, 1000), np.float32)

    def run() -> Steps:
        seconds = np.zeros(len(compiled.STEP_NAMES))
        native.forward([image], out, output="logits", seconds=seconds)
        return dict(zip(compiled.STEP_NAMES, seconds, strict=True))

    return run


def numpy_pass() -> Callable[[], Steps]:
    """The same of the NumPy backend on one thread, and the time of the whole pass."""
    model, image = network(224, 1)
    p = model._parameters
    names = {id(p.head): "head"}
    for layer in p.layers:
        names |= {id(layer.in_proj): "in_proj", id(layer.out_proj): "out_proj"}
        for direction in layer.directions:
            names |= {id(direction.x_proj): "x_proj", id(direction.dt_proj): "scan"}
    seconds: Steps = {}

    def timed(name: str | None, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
        start = time.perf_counter()
        result = call(*args, **options)
        if name is not None:
            seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - start
        return result

    def matmul(a: np.ndarray, b: np.ndarray, out: np.ndarray, multiply: Any = np.matmul) -> Any:
        return timed(names.get(id(b)), multiply, a, b, out=out)

    calls = {
        (np, "matmul"): matmul,
        (model, "_embed"): partial(timed, "embed", model._embed),
        (model, "_head"): partial(timed, "head", model._head),
        (kernels, "causal_conv1d"): partial(timed, "conv1d", kernels.causal_conv1d),
        (kernels, "fused_add_norm"): partial(timed, "norm", kernels.fused_add_norm),
        (kernels, "selective_scan"): partial(timed, "scan", kernels.selective_scan),
    }
    whole = with_threads(forward_pass(model, image), 1)

    def run() -> Steps:
        seconds.clear()
        with ExitStack() as patches:
            for (where, name), call in calls.items():
                patches.enter_context(mock.patch.object(where, name, call))
            timed("whole", whole)
        return dict(seconds)

    return run


def peak_rate() -> float:
    """Multiply-adds a second of one core, without memory."""
    compiled = extension.loaded()
    assert compiled is not None
    start = time.perf_counter()
    number = compiled.multiply_adds(500_000)
    return number / (time.perf_counter() - start)


def multiply_adds_of_products() -> dict[str, int]:
    """Multiply-adds of each product in a native pass; dt_proj's are in the scan.

    The last layer leaves out what the class token does not need: z and out_proj of other tokens,
    and x_proj of those that come after it in a direction.
    """
    config = vimnp.config.VIM_TINY
    length, embed_dim, d_inner = config.num_tokens, config.embed_dim, config.d_inner
    dt_rank = config.dt_rank
    assert dt_rank is not None
    all_tokens, last_layer = config.depth * length, length - 1
    return {
        "embed": config.num_patches * 3 * config.patch_size**2 * embed_dim,
        "in_proj": (2 * all_tokens - last_layer) * embed_dim * d_inner,
        "x_proj": (2 * all_tokens - last_layer) * d_inner * (dt_rank + 2 * config.d_state),
        "out_proj": (all_tokens - last_layer) * d_inner * embed_dim,
        "head": embed_dim * config.num_classes,
    }


class Breakdown:
    """Where the time of a pass goes: medians of passes in turn, and of the peak beside them.

    Each pass follows three of its own that do not count, which wake the threads and fill the cache.
    """

    def __init__(self, rounds: int) -> None:
        passes = {"1": native_pass(1), "2": native_pass(2), "numpy": numpy_pass()}
        found: dict[str, list[Steps]] = {name: [] for name in passes}
        peaks = []
        for _ in range(rounds):
            peaks.append(peak_rate())
            for name, run in passes.items():
                for _ in range(WARM):
                    run()
                found[name].append(run())
        self.native = {number: median_steps(found[str(number)]) for number in (1, 2)}
        self.numpy = median_steps(found["numpy"])
        self.gigaflops = 2e-9 * float(np.median(peaks))
        self.shares = {
            name: float(np.median([number / s[name] for s in found["1"]] / np.array(peaks)))
            for name, number in multiply_adds_of_products().items()
        }

    def rows(self) -> Iterator[tuple[str, ...]]:
        """Step, milliseconds in NumPy and native, share of the peak, milliseconds on 2 threads."""
        for name, seconds in self.native[1].items():
            share = f"{self.shares[name]:.0%}" if name in self.shares else ""
            yield (
                name,
                milliseconds(self.numpy.get(name)),
                milliseconds(seconds),
                share,
                milliseconds(self.native[2][name]),
            )
        between = 2 * self.numpy["whole"] - sum(self.numpy.values())
        yield "between the steps", milliseconds(between), "", "", ""
        whole = [sum(self.native[number].values()) for number in (1, 2)]
        yield (
            "whole",
            milliseconds(self.numpy["whole"]),
            milliseconds(whole[0]),
            "",
            milliseconds(whole[1]),
        )

    def limits(self) -> Iterator[tuple[str, str, str]]:
        """What, at most or least, measured."""
        for name in ("in_proj", "out_proj"):
            what = f"{name}, share of the measured peak ({self.gigaflops:.0f} GFLOP/s), 1 thread"
            yield what, "at least 85 %", f"{self.shares[name]:.0%}"
        one = self.native[1]
        rest = sum(one[name] for name in ("embed", "norm", "conv1d", "pool", "wait"))
        share = rest / sum(one.values())
        yield "neither layers' products nor scans, share of a native pass", "8 %", f"{share:.1%}"


def median_steps(passes: list[Steps]) -> Steps:
    return {name: float(np.median([steps[name] for steps in passes])) for name in passes[0]}


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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20, help="of measurements")
    rounds = parser.parse_args().rounds
    if refusal():
        print(refusal())
        return 2
    print("\n".join(header()) + "\n")
    seconds = passes(rounds)
    print_table(("network", "threads", *map(str, SIDES)), pass_rows(seconds))
    steps = Breakdown(rounds)
    columns = ("step", "numpy, 1 thread", "native, 1 thread", "of peak", "native, 2 threads")
    print_table(columns, steps.rows())
    print_table(
        ("what", "at most", "measured"),
        [*ratios(seconds), *steps.limits(), memory_row(), *steadiness(rounds)],
    )
    return 0


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
    sys.exit(main())
