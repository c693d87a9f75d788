"""Products with a matrix as it may be stored: for one token, a few, and a prompt.

    python bench/bench_product.py [--rounds 20]

mamba-130m's in_proj in as many copies as no cache holds, one after the other, one thread: a single
token is bound by memory, so its rate is in GB/s of the matrix; many are bound by arithmetic, so
theirs is in multiply-adds. Times are medians of calls in turn.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from limits import medians
from surroundings import print_table, rounds_asked_for

from vimnp.engine.packing import pack
from vimnp.runtime import extension
from vimnp.weights.encodings import Encoded, encode

INPUTS, OUTPUTS, COPIES = 768, 3072, 12
ROWS = (1, 2, 4, 8, 120)
DTYPES = ("float32", "bfloat16", "int8", "int4")


class Copies:
    """A random matrix in so many copies, and products of some tokens with all of them."""

    def __init__(self, dtype: str) -> None:
        self._kernels = extension.for_network()
        generator = np.random.default_rng(0)
        matrix = generator.standard_normal((OUTPUTS, INPUTS)).astype(np.float32)
        self._copies = [self._packed(matrix, dtype) for _ in range(COPIES)]
        self.nbytes = sum(weights.nbytes for weights in self._copies)

    def _packed(self, matrix: np.ndarray, dtype: str) -> np.ndarray | Encoded:
        if dtype != "float32":
            return encode(dtype, matrix)
        return pack(self._kernels.width, self._kernels.panel, matrix)

    def product(self, rows: int) -> Callable[[], None]:
        x = np.random.default_rng(1).standard_normal((rows, INPUTS)).astype(np.float32)
        out = np.empty((rows, OUTPUTS), np.float32)

        def run() -> None:
            for weights in self._copies:
                self._kernels.product(x, weights, None, out, rows=(0, rows), columns=(0, OUTPUTS))

        return run


def main() -> None:
    rounds = rounds_asked_for(__doc__, 20)
    copies = {dtype: Copies(dtype) for dtype in DTYPES}
    calls = {(dtype, rows): of.product(rows) for dtype, of in copies.items() for rows in ROWS}
    table = (
        (
            dtype,
            str(rows),
            f"{copies[dtype].nbytes / seconds / 1e9:.1f} GB/s",
            f"{rows * INPUTS * OUTPUTS * COPIES / seconds / 1e9:.1f} GMAC/s",
        )
        for (dtype, rows), seconds in medians(calls, rounds).items()
    )
    print_table(("stored as", "tokens", "matrix read", "computed"), table)


if __name__ == "__main__":
    main()
