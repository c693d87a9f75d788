"""Do the logits' bits depend on the number of BLAS threads? How many differ, and how far.

    python bench/blas_threads.py

Each of OpenBLAS's cores has a process of its own: the one that this CPU gets, and two for older
ones. The kernels' bits depend on no number of threads (the test suite holds them to that); NumPy's
matrix products are its BLAS's business.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
from limits import blas_as_it_is_set, pixels
from script_tables import blas_threads
from surroundings import run
from threadpoolctl import threadpool_limits

import vimnp

CORES = (None, "Haswell", "Prescott")
THREADS = (1, 2, 4)
RUNS = 5
HERE = "--here"  # asks for the rows of this process


def rows() -> list[dict[str, Any]]:
    """With the core of this process: a row for each number of threads."""
    image = pixels(224)
    with blas_as_it_is_set():
        model = vimnp.VimTiny.random(num_threads=1, backend="numpy")
    found = []
    for threads in THREADS:
        with threadpool_limits(threads, user_api="blas"):
            runs = [model(image) for _ in range(RUNS)]
        if threads == 1:
            alone = runs[0]
        found.append(
            {
                "threads": threads,
                "runs_agree": all(np.array_equal(each, runs[0]) for each in runs),
                "different": int(np.count_nonzero(runs[0] != alone)),
                "logits": alone.size,
                "distance": float(np.abs(runs[0] - alone).max()),
            }
        )
    return found


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Figures: a row for each core and number of threads."""
    found = []
    for core in CORES:
        environment = os.environ | ({"OPENBLAS_CORETYPE": core} if core else {})
        command = [sys.executable, __file__, HERE]
        done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE)
        found += [{"core": core or "this CPU's"} | row for row in json.loads(done.stdout)]
    return {"cores": found}


def main() -> None:
    if sys.argv[1:] == [HERE]:
        print(json.dumps(rows()))
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    run(parser, measure, blas_threads)


if __name__ == "__main__":
    main()
