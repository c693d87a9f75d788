"""Measures the largest errors of the kernels' exp, softplus, silu and gelu over all of float32.

    python bench/vector_accuracy.py
    python bench/vector_accuracy.py --every 101 --isa avx2 baseline

The truth is NumPy's, in float64. Errors are in units in the last place (ulp) of the truth, rounded
to float32. Where the truth is below 2^-100 the kernels may give zero, and the error is absolute;
where exp is above 2^127.5 they may give infinity, and only a finite result has an error.
tests/ops/test_vector_functions.py holds a sample of the floats to the errors that exp.h and gelu.h
state.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from limits import FLOAT_SETS
from script_tables import vector_accuracy
from surroundings import run

from vimnp.ops import reference
from vimnp.runtime import extension

EXACT: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "exp": np.exp,
    "softplus": reference.softplus,
    "silu": reference.silu,
    "gelu": reference.gelu,
}
# Truths below the first may become zero; above the second, exp is infinite without AVX-512.
NORMAL = 2.0**-100
FINITE = {"exp": 2.0**127.5, "softplus": 2.0**128, "silu": 2.0**128, "gelu": 2.0**128}

BOUNDS = (1.0, 10.0, np.inf)  # of |x|
CHUNK = 1 << 13  # floats at once: what is computed of them stays in the cache


class Worst(NamedTuple):
    """The largest error in ulp, and where."""

    error: float = 0.0
    x: float = 0.0


@dataclass
class Findings:
    """What was measured of one function with one instruction set.

    `worst` belongs to the |x| up to its bound from the bound before.
    """

    worst: dict[float, Worst] = field(default_factory=lambda: dict.fromkeys(BOUNDS, Worst()))
    absolute: float = 0.0
    keeps_nan: bool = True
    has_limits: bool = True
    infinite_from: float = np.inf

    def up_to(self, bound: float) -> Worst:
        return max(worst for upper, worst in self.worst.items() if upper <= bound)

    def add_errors(self, bound: float, x: np.ndarray, errors: np.ndarray) -> None:
        """Keeps the largest. `errors` have signs, are in 2^23 ulp, and are overwritten."""
        np.abs(errors, out=errors)
        at = errors.argmax()  # of NaN, if there is one
        largest = np.inf if np.isnan(errors[at]) else float(errors[at]) * 2**23
        if largest > self.worst[bound].error:
            self.worst[bound] = Worst(largest, float(x[at]))


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Figures: a row for each function and instruction set.

    Each has the largest errors by the bound of ``abs(x)``, with the x of each; the largest absolute
    error; whether NaN, with every payload, gives NaN; whether the infinities give the limits (silu
    and gelu of minus infinity are NaN, as PyTorch's); and the least finite x whose result is
    infinite, None if there is none.
    """
    rows = []
    for name in EXACT:
        print(name, file=sys.stderr, flush=True)
        for isa, found in findings_of(name, options.isa, options.every).items():
            rows.append({"function": name, "isa": isa} | as_row(found))
    return {"every": options.every, "functions": rows}


def as_row(found: Findings) -> dict[str, Any]:
    infinite = None if np.isinf(found.infinite_from) else found.infinite_from
    return {
        "errors": [found.up_to(bound).error for bound in BOUNDS],
        "at": [found.up_to(bound).x for bound in BOUNDS],
        "absolute": found.absolute,
        "keeps_nan": found.keeps_nan,
        "has_limits": found.has_limits,
        "infinite_from": infinite,
    }


def main() -> None:
    usable = extension.usable_instruction_sets()
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--every", type=_from_one_on, default=1, metavar="N", help="%(default)s")
    parser.add_argument("--isa", nargs="+", choices=usable, default=FLOAT_SETS, help="default: all")
    if not usable:
        parser.exit(2, "vimnp has no compiled kernels here\n")
    run(parser, measure, vector_accuracy)


def _from_one_on(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("expected a number from 1 on")
    return number


def findings_of(name: str, instruction_sets: list[str], every: int) -> dict[str, Findings]:
    """One function with each instruction set, of one in `every` float32."""
    findings = {isa: Findings() for isa in instruction_sets}
    with np.errstate(all="ignore"):
        for bound, x in finite_floats(every):
            compare(name, findings, bound, x)
        for x in nans(every):
            for isa, of_isa in findings.items():
                of_isa.keeps_nan &= bool(np.isnan(apply(isa, name, x)).all())
        infinities = np.array([-np.inf, np.inf], np.float32)
        limits = EXACT[name](infinities.astype(np.float64))
        for isa, of_isa in findings.items():
            found = apply(isa, name, infinities)
            of_isa.has_limits = np.array_equal(found, limits, equal_nan=True)
    return findings


def compare(name: str, findings: dict[str, Findings], bound: float, x: np.ndarray) -> None:
    """Add to the findings what some floats show, which lie between two bounds."""
    truth = EXACT[name](x.astype(np.float64))
    size = np.abs(truth)
    tiny, large = size < NORMAL, truth >= FINITE[name]
    for x_part, truth_part in select(~(tiny | large), x, truth):
        compare_normal(name, findings, bound, x_part, truth_part)
    for x_part, truth_part in select(tiny, x, truth):
        for isa, of_isa in findings.items():
            error = np.abs(apply(isa, name, x_part) - truth_part).max()
            of_isa.absolute = float(np.maximum(of_isa.absolute, error))
    for x_part, truth_part in select(large, x, truth):
        compare_large(name, findings, bound, x_part, truth_part)


def compare_normal(
    name: str, findings: dict[str, Findings], bound: float, x: np.ndarray, truth: np.ndarray
) -> None:
    binade = binades(truth)
    for isa, of_isa in findings.items():
        of_isa.add_errors(bound, x, (apply(isa, name, x) - truth) / binade)


def compare_large(
    name: str, findings: dict[str, Findings], bound: float, x: np.ndarray, truth: np.ndarray
) -> None:
    """Where the result may be infinite: if it is not, its error counts."""
    for isa, of_isa in findings.items():
        found = apply(isa, name, x)
        infinite = np.isposinf(found)
        if infinite.any():
            of_isa.infinite_from = min(of_isa.infinite_from, float(x[infinite].min()))
        if not infinite.all():
            x_left, truth_left = x[~infinite], truth[~infinite]
            error = (found[~infinite] - truth_left) / binades(truth_left)
            of_isa.add_errors(bound, x_left, error)


def select(
    mask: np.ndarray, x: np.ndarray, truth: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Those in the mask: nothing if it is empty, without a copy if it has all."""
    if mask.all():
        yield x, truth
    elif mask.any():
        yield x[mask], truth[mask]


def binades(truth: np.ndarray) -> np.ndarray:
    """2^23 ulp of each: the power of two at or below its size once rounded to float32."""
    bits = truth.astype(np.float32).view(np.uint32)
    bits &= 0x7F800000
    np.minimum(bits, bits_of(2.0**127), out=bits)  # also where the truth overflows
    return bits.view(np.float32).astype(np.float64)


def apply(isa: str, name: str, x: np.ndarray) -> np.ndarray:
    os.environ["VIMNP_ISA"] = isa
    compiled = extension.kernels()  # heeds the variable
    assert compiled is not None
    out = np.empty_like(x)
    compiled.apply(name, x, out)
    return out


def bits_of(value: float) -> int:
    return int(np.float32(value).view(np.uint32))


def finite_floats(every: int) -> Iterator[tuple[float, np.ndarray]]:
    """The finite float32 of both signs in chunks, each with the bound that its |x| lie below."""
    first = 0
    for bound in BOUNDS:
        end = bits_of(bound) + (bound < np.inf)
        for sign in (0, 1 << 31):
            for x in patterns(sign + first, sign + end, every):
                yield bound, x
        first = end


def nans(every: int) -> Iterator[np.ndarray]:
    """The NaN of both signs in chunks."""
    for sign in (0, 1 << 31):
        yield from patterns(sign + bits_of(np.inf) + 1, sign + (1 << 31), every)


def patterns(first: int, end: int, every: int) -> Iterator[np.ndarray]:
    """The float32 whose bits are multiples of `every` from `first` to before `end`, in chunks."""
    first += -first % every
    for start in range(first, end, CHUNK * every):
        stop = min(start + CHUNK * every, end)
        yield np.arange(start, stop, every, dtype=np.uint32).view(np.float32)


if __name__ == "__main__":
    main()
