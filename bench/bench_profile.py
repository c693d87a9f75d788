"""What profiling costs: a pass that is profiled, over one that is not.

    python bench/bench_profile.py [--rounds 40]
    pytest bench/bench_profile.py

Passes that are not profiled stand twice in each round: their ratio tells what is noise. The NumPy
backend has no trace of profiling when it is off, and the native one a test of a pointer at each
step of a thread; a profiled pass takes that way, reads the clock and writes. What is off costs less
than what is on.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import pytest
from limits import BLAS, medians, network
from surroundings import print_table, rounds_asked_for

from vimnp.engine.settings import BACKENDS
from vimnp.measure.profiling import profile


def rows(rounds: int) -> Iterator[tuple[str, str, str]]:
    """Backend, an unprofiled pass over another, a profiled one over the first."""
    for backend in BACKENDS:
        model, image = network(224, 1, backend)
        calls = {
            "off": functools.partial(model, image),
            "on": functools.partial(profile, model, image),
            "off again": functools.partial(model, image),
        }
        with BLAS.limit(limits=1):
            found = medians(calls, rounds, burst=2)
        ratios = (found[name] / found["off"] for name in ("off again", "on"))
        yield backend, *(f"{ratio:.3f}" for ratio in ratios)


def main() -> None:
    rounds = rounds_asked_for(__doc__, 40)
    print_table(("backend, 1 thread", "off, over off", "on, over off"), rows(rounds))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("is_on", [False, True], ids=["off", "on"])
def test_profiling(benchmark, backend, is_on):
    model, image = network(224, 1, backend)
    benchmark.group = f"{backend}, profiling"
    call = functools.partial(profile, model) if is_on else model
    with BLAS.limit(limits=1):
        benchmark.pedantic(call, (image,), rounds=15, warmup_rounds=2)


if __name__ == "__main__":
    main()
