"""From plain NumPy to the last kernel, a step at a time: what each optimisation brings.

    python bench/bench_steps.py [--rounds 10]

Vim-tiny on 224x224 pixels, one thread where nothing else is said. The steps run in turn, in one
run; times are medians of profiled passes (vimnp.measure.profiling), in milliseconds.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
from limits import BLAS, PAUSE, instruction_set, pixels
from script_tables import steps_of_speed
from surroundings import rounds_parser, run

from vimnp.config import VIM_TINY, VimConfig
from vimnp.measure.profiling import Profile, Span, median_seconds, profile
from vimnp.measure.timing import in_turn
from vimnp.models.vim.model import VisionMamba
from vimnp.runtime import extension

WARM_UP = 2


class Step(NamedTuple):
    """A way to run the network: None stands for plain NumPy, without compiled kernels."""

    what: str
    isa: str | None
    scan: str = "fused"
    backend: str = "numpy"
    num_threads: int = 1


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
    Step("both directions in one call (fused)", FASTEST),
    Step("2 threads", FASTEST, num_threads=2),
    Step("products of our own, one region (native)", FASTEST, backend="native"),
    Step("native, 2 threads", FASTEST, backend="native", num_threads=2),
    Step("for comparison: states in memory (fixlen)", FASTEST, "fixlen"),
)
PARTS = {
    "products": ("embed", "in_proj", "x_proj", "dt_proj", "out_proj", "head"),
    "conv1d": ("conv1d",),
    "scan": ("scan",),
    "norm": ("norm", "pool"),
}


def part(span: Span) -> str:
    return next((name for name, members in PARTS.items() if span.operation in members), "wait")


@contextlib.contextmanager
def conditions(step: Step) -> Iterator[None]:
    """What a model of this step is made and run in."""
    kernels = (
        mock.patch.object(extension, "_scan", None)
        if step.isa is None
        else instruction_set(step.isa)
    )
    with kernels, BLAS.limit(limits=step.num_threads):
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


class Measured(NamedTuple):
    """Seconds of a step: of a whole pass, and of its parts, as far as there are any."""

    what: str
    whole: float
    parts: dict[str, float]
    is_compared: bool
    """Whether it stands beside the step before."""


def rows(config: VimConfig, rounds: int) -> Iterator[Measured]:
    usable = (None, *extension.usable_instruction_sets())
    steps = {step: profiled(step, config) for step in STEPS if step.isa in usable}
    for step, found in in_turn(steps, rounds, warm_up=WARM_UP, pause=PAUSE).items():
        whole = float(np.median([p.seconds for p in found]))
        is_compared = step not in (STEPS[0], STEPS[-1])
        yield Measured(step.what, whole, median_seconds(found, part), is_compared)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Figures: a row for each step."""
    found = [row._asdict() for row in rows(VIM_TINY, options.rounds)]
    return {"rounds": options.rounds, "steps": found}


def main() -> None:
    run(rounds_parser(__doc__, 10), measure, steps_of_speed)


def test_the_table_is_made():
    from tests.support.micro import MICRO

    found = [row[0] for row in rows(MICRO, 1)]
    assert found[0] == "plain NumPy"
    assert len(found) > 1


if __name__ == "__main__":
    main()
