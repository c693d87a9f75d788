"""One layer of Vim-tiny between its products: scan, convolutions and norm, by instruction set.

    python bench/bench_layer.py [--rounds 20]

Both directions of a layer, and how near the scan is to what the machine can do. Calls of one
instruction set are measured in turn; every figure is a median.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from breakdown import peak_rate
from layer_arrays import (
    D_INNER,
    D_STATE,
    add_norm,
    aligned_empty,
    convolution,
    normal,
    scan,
    scan_inputs,
)
from limits import BLAS, FLOAT_SETS, Call, instruction_set, medians
from script_tables import Bound, layer_tables
from surroundings import rounds_parser, run

import vimnp

LENGTHS = (197, 4097)  # pictures of 224 and of 1024 pixels
OPERATIONS = {"scan": scan, "convolutions": convolution, "norm": add_norm}
SCAN_TARGETS = {"avx512": 275e-6, "avx2": 505e-6, "baseline": 1700e-6}  # seconds

# Products and multiply-adds for one state and token in vimnp/csrc/scan.h: delta A (twice with
# AVX2), polynomial (2 with the table, 6 without), its product with the table's number, delta u B,
# h, y.
MULTIPLY_ADDS = {"avx512": 7, "avx2": 11}
TURN = 0.01  # seconds that the calls of a turn take, about


# ---- Times ---------------------------------------------------------------------------------------


def rows(rounds: int, lengths: tuple[int, ...] = LENGTHS) -> Iterator[dict[str, Any]]:
    """Seconds by operation, instruction set, tokens and threads; plain NumPy has one thread."""
    for isa in (*FLOAT_SETS, None):
        for length in lengths:
            with instruction_set(isa):
                yield from _rows_of(isa, length, rounds)


def _rows_of(isa: str | None, length: int, rounds: int) -> Iterator[dict[str, Any]]:
    calls: dict[Any, Call] = {
        (name, threads): call(length, threads)
        for name, call in OPERATIONS.items()
        for threads in ((1, 2) if isa else (1,))
    }
    if isa == FLOAT_SETS[0]:
        calls["scan, arrays 16 bytes after a cache line", 1] = _scan_beside_cache_lines(length)
        calls["scan, the public operation", 1] = _scan_with_transposes(length)
    once = medians(calls, 1)
    burst = max(1, int(TURN / max(once.values())))
    for (name, threads), seconds in medians(calls, rounds, burst).items():
        row = {"operation": name, "isa": isa or "plain NumPy", "tokens": length}
        yield row | {"threads": threads, "median": seconds}


def _scan_with_transposes(length: int) -> Call:
    """The original's layout (b, d, l) costs a transpose of every array."""

    def channel_major() -> vimnp.Direction:
        direction = scan_inputs(length).channel_major()
        return vimnp.Direction(*(array if array.ndim < 2 else array.copy() for array in direction))

    directions = channel_major(), channel_major()
    z = np.ascontiguousarray(normal(length, D_INNER).T)[None]
    return lambda: vimnp.selective_scan_bidirectional(*directions, z, True, True, num_threads=1)


def _scan_beside_cache_lines(length: int) -> Call:
    """Arrays begin where NumPy's own often do."""
    call = scan(length, 1)
    directions, z, out = call.args
    moved = tuple(d._replace(u=_moved(d.u), delta=_moved(d.delta)) for d in directions)
    z = _moved(np.concatenate([z, z], axis=1))[:, z.shape[1] :]
    return partial(call.func, moved, z, _moved(out), **call.keywords)


def _moved(array: np.ndarray, floats: int = 4) -> np.ndarray:
    """The same numbers, beginning so many floats after a cache line."""
    buffer = aligned_empty(array.size + floats)[floats:].reshape(array.shape)
    buffer[...] = array
    return buffer


# ---- What is to be reached -----------------------------------------------------------------------


def bounds(found: Sequence[dict[str, Any]]) -> Iterator[Bound]:
    """Of the scan of a picture of 224 pixels."""
    seconds = {
        (row["isa"], row["threads"]): row["median"]
        for row in found
        if (row["operation"], row["tokens"]) == ("scan", LENGTHS[0])
    }
    if (number := MULTIPLY_ADDS.get(FLOAT_SETS[0])) is not None:
        least = 2 * LENGTHS[0] * D_INNER * D_STATE * number / peak_rate()
        yield Bound(f"its {number} multiply-adds a state alone, `{FLOAT_SETS[0]}`", least, "us")
    for isa, target in SCAN_TARGETS.items():
        yield Bound(f"1 thread, `{isa}`", seconds.get((isa, 1)), "us", target)
    for isa in FLOAT_SETS:
        if isa != "scalar":
            ratio = seconds[isa, 2] / seconds[isa, 1]
            yield Bound(f"2 threads over 1, `{isa}`", ratio, "x", 0.55)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Figures: rows of times, and a row for each :class:`script_tables.Bound`."""
    with BLAS.limit(limits=1):
        found = list(rows(options.rounds))
    return {
        "rounds": options.rounds,
        "times": found,
        "bounds": [bound._asdict() for bound in bounds(found)],
    }


def main() -> None:
    run(rounds_parser(__doc__, 20), measure, layer_tables)


def test_every_way_is_measured():
    found = list(rows(1, (5,)))
    assert {row["isa"] for row in found} == {*FLOAT_SETS, "plain NumPy"}
    assert {row["operation"] for row in found} > set(OPERATIONS)
    assert all(row["median"] > 0 for row in found)


if __name__ == "__main__":
    main()
