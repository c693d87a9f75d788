"""From plain NumPy to the last kernel, a step at a time: what each optimisation brings.

    python bench/bench_steps.py [--rounds 10]

Vim-tiny on 224x224 pixels, one thread where nothing else is said. The steps run in turn, in one
run; figures are medians of profiled passes (vimnp.measure.profiling), and of the core's peak beside
them. How long a pass takes is for bench/peers to say: here, each step is held against the first.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from breakdown import peak_rate
from breakdown import step as operation
from limits import BLAS, PAUSE, instruction_set, pixels
from script_tables import operations_of_a_pass, steps_of_speed
from surroundings import rounds_parser, run

from vimnp.config import VIM_TINY, VimConfig
from vimnp.measure.profiling import Profile, Span, median_seconds, profile
from vimnp.measure.timing import in_turn
from vimnp.models.vim.model import VisionMamba
from vimnp.runtime import extension

WARM_UP = 2


class Step(NamedTuple):
    """A way to run the network.

    Parameters
    ----------
    what : str
    isa : str or None
        None for plain NumPy, without compiled kernels.
    scan, backend, num_threads
        As :class:`vimnp.VisionMamba` takes them.
    broken_down : str
        The column that its operations have in the second table; "" for none.
    """

    what: str
    isa: str | None
    scan: str = "fused"
    backend: str = "numpy"
    num_threads: int = 1
    broken_down: str = ""


FASTEST = next(
    name
    for name in ("avx512", "avx2", "baseline", "scalar")
    if name in (*extension.usable_instruction_sets(), "scalar")
)

STEPS = (
    Step("plain NumPy", None, "sequential"),
    Step("compiled, no vectors", "scalar", "sequential"),
    Step("vectors of 4 channels (SSE2)", "baseline", "sequential"),
    Step("vectors of 8 (AVX2)", "avx2", "sequential"),
    Step("vectors of 16 (AVX-512)", "avx512", "sequential"),
    Step("both directions in one call (fused)", FASTEST, broken_down="numpy, 1 thread"),
    Step("2 threads", FASTEST, num_threads=2),
    Step(
        "products of our own, one region (native)",
        FASTEST,
        backend="native",
        broken_down="native, 1 thread",
    ),
    Step(
        "native, 2 threads",
        FASTEST,
        backend="native",
        num_threads=2,
        broken_down="native, 2 threads",
    ),
    Step("for comparison: states in memory (fixlen)", FASTEST, "fixlen"),
)
PARTS = {
    "products": ("embed", "in_proj", "x_proj", "dt_proj", "out_proj", "head"),
    "conv1d": ("conv1d",),
    "scan": ("scan",),
    "norm": ("norm", "pool"),
}
PRODUCTS = ("embed", "in_proj", "x_proj", "out_proj", "head")
"""Those of the native backend that are nothing else as well."""


def part(span: Span) -> str:
    return next((name for name, members in PARTS.items() if span.operation in members), "wait")


@contextlib.contextmanager
def conditions(step: Step) -> Iterator[None]:
    """What a model of this step is made and run in."""
    with instruction_set(step.isa), BLAS.limit(limits=step.num_threads):
        yield


def profiled(step: Step, config: VimConfig) -> Callable[[], Profile]:
    with conditions(step):
        model = VisionMamba.random(
            config=config, scan=step.scan, backend=step.backend, num_threads=step.num_threads
        )
    image = pixels(config.img_size[0])

    def run() -> Profile:
        with conditions(step):
            return profile(model, image)

    return run


def measured(step: Step, passes: Sequence[Profile]) -> dict[str, Any]:
    """Seconds of a step: of a whole pass, and of its parts, as far as there are any."""
    return {
        "what": step.what,
        "whole": float(np.median([one.seconds for one in passes])),
        "parts": median_seconds(passes, part),
        "is_compared": step not in (STEPS[0], STEPS[-1]),  # with the step before
    }


def figures(config: VimConfig, rounds: int) -> dict[str, Any]:
    """Rows of the steps; seconds of a pass by operation; and the products' share of the peak.

    A product's share is of the multiply-adds that one core does without memory, and is for the
    native backend with one thread.
    """
    usable = (None, *extension.usable_instruction_sets())
    runs: dict[Step | None, Callable[[], Any]] = {
        step: profiled(step, config) for step in STEPS if step.isa in usable
    }
    found = in_turn(runs | {None: peak_rate}, rounds, warm_up=WARM_UP, pause=PAUSE)
    peaks = found.pop(None)
    broken_down = {step.broken_down: passes for step, passes in found.items() if step.broken_down}
    return {
        "steps": [measured(step, passes) for step, passes in found.items()],
        "operations": {
            name: median_seconds(passes, operation) for name, passes in broken_down.items()
        },
        "peak": float(np.median(peaks)),  # multiply-adds a second
        "of_peak": shares_of_peak(config, broken_down.get("native, 1 thread", []), peaks),
    }


def shares_of_peak(
    config: VimConfig, passes: Sequence[Profile], peaks: Sequence[float]
) -> dict[str, float]:
    """By operation."""
    costs = VisionMamba.random(config=config, backend="native").costs() if passes else {}
    seconds = [one.seconds_by(operation) for one in passes]
    return {
        name: float(np.median([costs[name].flops / 2 / s[name] for s in seconds] / np.array(peaks)))
        for name in PRODUCTS
        if name in costs
    }


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Figures: as :func:`figures` gives them."""
    return {"rounds": options.rounds} | figures(VIM_TINY, options.rounds)


def tables(found: dict[str, Any]) -> str:
    return f"{steps_of_speed(found)}\n{operations_of_a_pass(found)}"


def main() -> None:
    run(rounds_parser(__doc__, 10), measure, tables)


def test_the_tables_are_made():
    from tests.support.micro import MICRO

    found = figures(MICRO, 1)
    assert found["steps"][0]["what"] == "plain NumPy"
    assert len(found["steps"]) > 1
    assert set(found["of_peak"]) == set(PRODUCTS)
    assert "| in_proj | " in tables(found)


if __name__ == "__main__":
    main()
