"""What the comparisons of pictures' networks have in common: rows of a record."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from surroundings import header

from peers.cold_start import cold_starts
from peers.latency import FEWEST, latencies
from peers.processes import Case
from peers.record import Results

USUAL_SIDE = 224  # rounds are for this one; larger pictures get fewer
FEWER_STARTS = 4  # a process starts for every fourth round

log = logging.getLogger(__name__)


def empty_record(rounds: int, packages: Sequence[str]) -> Results:
    """Where, with what and how it is measured, and no rows yet."""
    return header(packages) | {"rounds": rounds, "latency": [], "agreement": []}


def add_latencies(
    results: Results,
    cases: Sequence[Case],
    side: int,
    folder: Path,
    about: Callable[[Case], dict[str, Any]] = lambda case: {},
) -> None:
    """Measure all cases in turn.

    Parameters
    ----------
    results : dict
        To which rows of "latency", "agreement" and, if any network is, "left_out" are added.
    cases : sequence of Case
    side : int
        Height and width of the picture.
    folder : Path
        With the weights and the picture.
    about : callable
        What else a case's row is to have.
    """
    log.info("%d x %d pixels: latency", side, side)
    rounds = results["rounds"]
    fewer = max(rounds * USUAL_SIDE // side, FEWEST)
    seconds, agreement = latencies(cases, folder, min(fewer, rounds))
    for case, found in seconds.items():
        row = case_row(case, side) | about(case)
        results["latency"].append(row | found._asdict())
    for (family, precision), difference in agreement.differences.items():
        row = {"family": family, "precision": precision, "side": side, "difference": difference}
        results["agreement"].append(row)
    for case, difference in agreement.left_out.items():
        row = case_row(case, side) | {"difference": difference}
        results.setdefault("left_out", []).append(row)


def add_cold_starts(
    results: Results, names: Sequence[str], side: int, num_threads: int, folder: Path
) -> None:
    """Measure processes of all networks from their start, for rows of "start"."""
    log.info("%d x %d pixels: processes from their start", side, side)
    starts = cold_starts(names, num_threads, folder, max(results["rounds"] // FEWER_STARTS, 1))
    results["start"] = [
        case_row(Case(name, num_threads), side) | start._asdict() for name, start in starts.items()
    ]


def case_row(case: Case, side: int) -> dict[str, Any]:
    """What a row is of."""
    return {"network": case.network, "side": side, "threads": case.num_threads}
