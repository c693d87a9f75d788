"""Products with a matrix as it may be stored: for one token, a few, and a prompt.

    python bench/bench_product.py [--rounds 20]

mamba-130m's in_proj in as many copies as no cache holds, one after the other, one thread: a single
token is bound by memory, so its rate is in GB/s of the matrix; many are bound by arithmetic, so
theirs is in multiply-adds. Then the matrices of Vim-tiny, for a picture's 197 tokens. Times are
medians of calls in turn.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from limits import medians
from surroundings import print_table, rounds_asked_for

from vimnp.engine.packing import pack
from vimnp.runtime import extension
from vimnp.weights.encodings import Encoded, encode

COPIES = 12
ROWS = (1, 2, 4, 8, 120)
DTYPES = ("float32", "bfloat16", "int8", "int8_per_channel", "int4")
OF_LANGUAGE = (768, 3072)  # inputs and outputs
OF_PICTURES = {
    "in_proj": (192, 768),
    "x_proj": (384, 44),
    "out_proj": (384, 192),
    "patches": (768, 192),
}
TOKENS = 197


class Copies:
    """A random matrix in so many copies, and products of some tokens with all of them."""

    def __init__(self, dtype: str, size: tuple[int, int]) -> None:
        self._kernels = extension.for_network()
        self._inputs, self._outputs = size
        generator = np.random.default_rng(0)
        matrix = generator.standard_normal((self._outputs, self._inputs)).astype(np.float32)
        self._copies = [self._packed(matrix, dtype) for _ in range(COPIES)]
        self.nbytes = sum(weights.nbytes for weights in self._copies)

    def _packed(self, matrix: np.ndarray, dtype: str) -> np.ndarray | Encoded:
        if dtype != "float32":
            return encode(dtype, matrix)
        return pack(self._kernels.width, self._kernels.panel, matrix)

    def product(self, rows: int) -> Callable[[], None]:
        x = np.random.default_rng(1).standard_normal((rows, self._inputs)).astype(np.float32)
        out = np.empty((rows, self._outputs), np.float32)
        columns = (0, self._outputs)

        def run() -> None:
            for weights in self._copies:
                self._kernels.product(x, weights, None, out, rows=(0, rows), columns=columns)

        return run

    def multiply_adds(self, rows: int) -> int:
        """Of such a product."""
        return rows * self._inputs * self._outputs * COPIES


def language_table(rounds: int) -> None:
    copies = {dtype: Copies(dtype, OF_LANGUAGE) for dtype in DTYPES}
    calls = {(dtype, rows): of.product(rows) for dtype, of in copies.items() for rows in ROWS}
    table = (
        (
            dtype,
            str(rows),
            f"{copies[dtype].nbytes / seconds / 1e9:.1f} GB/s",
            f"{copies[dtype].multiply_adds(rows) / seconds / 1e9:.1f} GMAC/s",
        )
        for (dtype, rows), seconds in medians(calls, rounds).items()
    )
    print_table(("stored as", "tokens", "matrix read", "computed"), table)


def pictures_table(rounds: int) -> None:
    copies = {
        (name, dtype): Copies(dtype, size)
        for name, size in OF_PICTURES.items()
        for dtype in ("float32", "int8_per_channel")
    }
    seconds = medians({key: of.product(TOKENS) for key, of in copies.items()}, rounds)
    table = (
        (
            name,
            dtype,
            f"{of.multiply_adds(TOKENS) / seconds[name, dtype] / 1e9:.1f} GMAC/s",
            f"{seconds[name, 'float32'] / seconds[name, dtype]:.2f}x",
        )
        for (name, dtype), of in copies.items()
    )
    print_table(("matrix", "stored as", "computed", "of float32"), table)


def main() -> None:
    rounds = rounds_asked_for(__doc__, 20)
    language_table(rounds)
    pictures_table(rounds)


if __name__ == "__main__":
    main()
