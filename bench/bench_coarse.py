"""The functions of four digits that int8 mode has in scans and convolutions, beside the usual ones.

    python bench/bench_coarse.py [--rounds 200]

One layer of Vim-tiny, both directions, 197 tokens, one thread, on each instruction set of this
machine: microseconds of the scan (softplus, states, gate) and of the convolutions (with SiLU),
medians of calls in turn. Errors are root mean squares, over the result's own, against float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from layer_arrays import D_CONV, D_INNER, aligned_empty, normal, scan_inputs
from limits import instruction_set, medians
from surroundings import print_table, rounds_asked_for

from vimnp.ops import reference
from vimnp.runtime import extension

if TYPE_CHECKING:
    from vimnp import _scan

LENGTH = 197


class Layer:
    """What a layer scans and convolves."""

    def __init__(self) -> None:
        self.directions = (scan_inputs(LENGTH), scan_inputs(LENGTH))
        self.z = normal(LENGTH, 2 * D_INNER)[:, D_INNER:]
        self.x = normal(LENGTH, 2 * D_INNER)[:, :D_INNER]
        self.filters = tuple((normal(D_CONV, D_INNER), normal(D_INNER)) for _ in range(2))
        self.out = tuple(aligned_empty(LENGTH, D_INNER) for _ in range(2))

    def scan(self, kernels: _scan.Kernels, coarse: bool) -> None:
        kernels.selective_scan(
            self.directions,
            self.z,
            self.out[0],
            delta_softplus=True,
            fixlen=False,
            fused=True,
            scale=0.5,
            last_states=None,
            num_threads=1,
            coarse=coarse,
        )

    def convolve(self, kernels: _scan.Kernels, coarse: bool) -> None:
        kernels.causal_conv1d(
            self.x, self.filters, self.out, silu=True, num_threads=1, coarse=coarse
        )

    def truth(self) -> np.ndarray:
        """Of the scan, in float64."""
        forward, backward = (
            reference.Direction(
                *(None if x is None else x.astype(np.float64) for x in inputs.channel_major())
            )
            for inputs in self.directions
        )
        z = self.z.astype(np.float64).T[None]
        return np.asarray(reference.selective_scan_bidirectional(forward, backward, z, True, True))[
            0
        ].T

    def error(self, kernels: _scan.Kernels, coarse: bool) -> float:
        self.scan(kernels, coarse)
        truth = self.truth()
        return float(np.sqrt(np.square(self.out[0] - truth).mean() / np.square(truth).mean()))


def rows(layer: Layer, isa: str, rounds: int) -> Iterator[tuple[str, ...]]:
    with instruction_set(isa):
        kernels = extension.for_network()
    operations = {"scan": layer.scan, "conv1d": layer.convolve}
    calls: dict[tuple[str, bool], Callable[[], None]] = {
        (name, coarse): partial(call, kernels, coarse)
        for name, call in operations.items()
        for coarse in (False, True)
    }
    times = medians(calls, rounds)
    for name in operations:
        usual, coarse = times[name, False], times[name, True]
        errors = [f"{layer.error(kernels, c):.1e}" for c in (False, True)] if name == "scan" else []
        microseconds = (f"{1e6 * usual:.0f}", f"{1e6 * coarse:.0f}", f"{coarse / usual:.2f}")
        yield isa, name, *microseconds, *(errors or ("-", "-"))


def main() -> None:
    rounds = rounds_asked_for(__doc__, 200)
    layer = Layer()
    header = ("set", "operation", "usual, us", "coarse, us", "ratio", "error, usual", "coarse")
    sets = extension.usable_instruction_sets()
    print_table(header, (row for isa in sets for row in rows(layer, isa, rounds)))


if __name__ == "__main__":
    main()
