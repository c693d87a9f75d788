"""Do the logits' bits depend on the number of BLAS threads? Prints how many differ, and how far.

    python bench/blas_threads.py

The kernels' bits depend on no number of threads (the test suite holds them to that); NumPy's matrix
products are its BLAS's business.
"""

from __future__ import annotations

import numpy as np
from limits import blas_as_it_is_set
from threadpoolctl import threadpool_limits

import vimnp
from vimnp.measure.machine import describe_machine

PIXELS = np.random.default_rng(0).standard_normal((3, 224, 224)).astype(np.float32)


def main() -> None:
    print(describe_machine().blas)
    with blas_as_it_is_set():
        model = vimnp.VimTiny.random(num_threads=1, backend="numpy")
    logits = {}
    for blas_threads in (1, 2, 4):
        with threadpool_limits(blas_threads, user_api="blas"):
            runs = [model(PIXELS) for _ in range(5)]
        logits[blas_threads] = runs[0]
        same = all(np.array_equal(run, runs[0]) for run in runs)
        different = np.count_nonzero(runs[0] != logits[1])
        distance = np.abs(runs[0] - logits[1]).max()
        print(
            f"{blas_threads} BLAS threads: five runs {'agree' if same else 'DIFFER'}; "
            f"{different} of {runs[0].size} logits differ from one thread's, "
            f"by at most {distance:.1e}"
        )


if __name__ == "__main__":
    main()
