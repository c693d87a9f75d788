"""From how much work on do two threads pay? Measures for the thresholds of vimnp/ops/kernels.py.

    python bench/thresholds.py [--rounds 20]

The time of two threads over that of one, for each operation called again and again; and that of a
pass through Vim-tiny where more operations than the scan are split, over one where it alone is: the
second thread has slept during a product whenever it is woken.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from layer_arrays import add_norm, convolution, scan
from limits import BLAS, FLOAT_SETS, Call, forward_pass, instruction_set, medians, network
from script_tables import thresholds
from surroundings import rounds_parser, run

from vimnp.config import VIM_TINY
from vimnp.models.vim.model import VisionMamba
from vimnp.ops import kernels


def native_pass(length: int, num_threads: int) -> Call:
    """Four layers of Vim-tiny in the native backend."""
    config = dataclasses.replace(VIM_TINY, img_size=(16, 16 * (length - 1)), depth=4)
    model = VisionMamba.random(config=config, num_threads=num_threads, backend="native")
    return partial(model, np.zeros((3, *config.img_size), np.float32))


LENGTHS: dict[str, tuple[Callable[[int, int], Call], tuple[int, ...]]] = {
    "selective_scan": (scan, (8, 16, 32, 64, 197)),
    "causal_conv1d": (convolution, (100, 197, 400, 730, 1025)),
    "fused_add_norm": (add_norm, (197, 400, 730, 1025, 4097)),
    "forward": (native_pass, (5, 9, 17, 33, 65)),
}
SPLITS = [
    ("selective_scan",),
    ("selective_scan", "causal_conv1d"),
    ("selective_scan", "fused_add_norm"),
]
ALWAYS, NEVER = 0, 1 << 40


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Figures: rows of two threads over one, and rows of passes over that which splits the scan."""
    over_one = []
    for isa in FLOAT_SETS:
        for operation, (call, lengths) in LENGTHS.items():
            kernels._LEAST_ELEMENTS[operation] = ALWAYS
            with instruction_set(isa):
                for length in lengths:
                    row = {"isa": isa, "operation": operation, "tokens": length}
                    over_one.append(row | {"ratio": ratio(call, length, options.rounds)})
    with BLAS.limit(limits=1):
        found = medians({split: split_pass(split) for split in SPLITS}, options.rounds)
    alone = found[SPLITS[0]]
    passes = [{"split": list(s), "ratio": found[s] / alone} for s in SPLITS[1:]]
    return {"rounds": options.rounds, "over_one": over_one, "passes": passes}


def main() -> None:
    run(rounds_parser(__doc__, 20), measure, thresholds)


def ratio(call: Callable[[int, int], Call], length: int, rounds: int) -> float:
    found = medians({"one": call(length, 1), "two": call(length, 2)}, rounds, 20)
    return found["two"] / found["one"]


def split_pass(operations: tuple[str, ...]) -> Call:
    run = forward_pass(*network(num_threads=2))

    def with_thresholds() -> None:
        for operation in LENGTHS:
            kernels._LEAST_ELEMENTS[operation] = ALWAYS if operation in operations else NEVER
        run()

    return with_thresholds


if __name__ == "__main__":
    main()
