"""From plain NumPy to the last kernel, a step at a time: what each optimisation brings.

    python bench/bench_steps.py [--rounds 10]

Vim-tiny on 224x224 pixels, one thread where nothing else is said. The steps run in turn, in one
run; times are medians of profiled passes (vimnp.measure.profiling), in milliseconds.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import NamedTuple
from unittest import mock

import numpy as np
from limits import BLAS, PAUSE, instruction_set, pixels
from surroundings import print_table, rounds_asked_for

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


STEPS = (
    Step("plain NumPy", None, "sequential"),
    Step("compiled, no vectors", "scalar", "sequential"),
    Step("vectors of 4 channels (SSE2)", "baseline", "sequential"),
    Step("vectors of 8 (AVX2)", "avx2", "sequential"),
    Step("vectors of 16 (AVX-512)", "avx512", "sequential"),
    Step("both directions in one call (fused)", "avx512"),
    Step("2 threads", "avx512", num_threads=2),
    Step("products of our own, one region (native)", "avx512", backend="native"),
    Step("native, 2 threads", "avx512", backend="native", num_threads=2),
    Step("for comparison: states in memory (fixlen)", "avx512", "fixlen"),
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


def rows(config: VimConfig, rounds: int) -> Iterator[tuple[str, ...]]:
    """The step, the whole pass, its parts, and the whole over the step before."""
    usable = (None, *extension.usable_instruction_sets())
    steps = {step: profiled(step, config) for step in STEPS if step.isa in usable}
    before = None
    for step, found in in_turn(steps, rounds, warm_up=WARM_UP, pause=PAUSE).items():
        whole = float(np.median([p.seconds for p in found]))
        parts = median_seconds(found, part)
        yield (
            step.what,
            f"{whole * 1e3:.1f}",
            *(f"{parts.get(name, 0.0) * 1e3:.2f}" for name in (*PARTS, "wait")),
            "" if before is None or step is STEPS[-1] else f"{whole / before:.2f}x",
        )
        before = whole


def main() -> None:
    rounds = rounds_asked_for(__doc__, 10)
    print_table(
        ("step", "a pass", *PARTS, "waiting", "over the step before"), rows(VIM_TINY, rounds)
    )


def test_the_table_is_made():
    from tests.support.micro import MICRO

    found = [row[0] for row in rows(MICRO, 1)]
    assert found[0] == "plain NumPy"
    assert len(found) > 1


if __name__ == "__main__":
    main()
