"""What profiling costs: a pass that is profiled, over one that is not.

    python bench/bench_profile.py [--rounds 40]
    pytest bench/bench_profile.py

Passes that are not profiled stand twice in each round: their ratio tells what is noise. The NumPy
backend has no trace of profiling when it is off, and the native one a test of a pointer at each
step of a thread; a profiled pass takes that way, reads the clock and writes. What is off costs less
than what is on.
"""

from __future__ import annotations

import argparse
import functools
from typing import Any

import pytest
from limits import BLAS, medians, network
from script_tables import profiling
from surroundings import rounds_parser, run

from vimnp.engine.settings import BACKENDS
from vimnp.measure.profiling import profile


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Figures: of each backend an unprofiled pass over another, and a profiled one over that."""
    rows = []
    for backend in BACKENDS:
        model, image = network(224, 1, backend)
        calls = {
            "off": functools.partial(model, image),
            "on": functools.partial(profile, model, image),
            "off again": functools.partial(model, image),
        }
        with BLAS.limit(limits=1):
            found = medians(calls, options.rounds, burst=2)
        off, on = (found[name] / found["off"] for name in ("off again", "on"))
        rows.append({"backend": backend, "off": off, "on": on})
    return {"rounds": options.rounds, "over_off": rows}


def main() -> None:
    run(rounds_parser(__doc__, 40), measure, profiling)


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
