"""The whole comparison of int8 with float32, as one record.

It has what that of Vision Mamba has (``peers/record.py``), but for scan modes, and:

    lacks       the instructions that the targets are for and this CPU does not have
    start       for each side, and not for the smallest alone
    files       a row for each network and side: file_size in bytes, load in seconds
    predict     a row for each precision and side: peak_memory of ``vimnp predict``
    steps       a row for each instruction set, as of ``steps.py``
    boards      seconds that are estimated for each Raspberry Pi, as of ``boards.py``
    digits      as of ``digits.py``; null if it was not measured
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

import checkout  # noqa: F401  (finds tests.support)
import footprint
from instructions import lacking

from peers.int8.boards import estimates
from peers.int8.digits import changed_classes
from peers.int8.steps import FILES, steps
from peers.int8.targets import WANTED
from peers.int8.weights_files import write_all
from peers.loading import loadings
from peers.measurements import add_cold_starts, add_latencies, case_row, empty_record
from peers.processes import Case
from peers.record import Results
from peers.requirements import MEASURED
from tests.support.processes import peak_memory

log = logging.getLogger(__name__)


def compare(
    names: Sequence[str], sides: Sequence[int], threads: Sequence[int], rounds: int
) -> Results:
    """Measure everything.

    Parameters
    ----------
    names : sequence of str
        Of ``NETWORKS``.
    sides : sequence of int
        Heights and widths of pictures in pixels. Steps are for the smallest.
    threads : sequence of int
        Numbers of threads. Loading, cold starts and memory are for the largest.
    rounds : int
        Turns of each network.
    """
    results: Results = empty_record(rounds, MEASURED)
    results |= {"lacks": lacking(WANTED), "files": [], "predict": []}
    starts = []
    for side in sorted(sides):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            log.info("%d x %d pixels: writes random weights", side, side)
            parameters = write_all(folder, side)
            cases = [Case(name, number) for number in sorted(threads) for name in names]
            add_latencies(results, cases, side, folder)
            add_cold_starts(results, names, side, max(threads), folder)
            starts += results["start"]
            _add_files(results, names, side, max(threads), folder)
            _add_predictions(results, side, folder)
            if side == min(sides):
                results["parameters"] = parameters
                results["steps"] = [{"side": side} | row for row in steps(folder, rounds)]
    results["start"] = starts
    log.info("estimates for boards")
    results["boards"] = estimates()
    log.info("digits")
    results["digits"] = changed_classes()
    return results


def _add_files(
    results: Results, names: Sequence[str], side: int, num_threads: int, folder: Path
) -> None:
    found = loadings(names, num_threads, folder, results["rounds"])
    results["files"] += [
        case_row(Case(name, num_threads), side) | loading._asdict()
        for name, loading in found.items()
    ]


def _add_predictions(results: Results, side: int, folder: Path) -> None:
    """Of a photograph, as ``footprint.py`` has them."""
    footprint.write_photograph(folder)
    for precision, file in FILES.items():
        arguments = footprint.arguments(folder, file.removesuffix(".npz"), "native")
        peak = peak_memory(footprint.PREDICT, *arguments)
        results["predict"].append({"precision": precision, "side": side, "peak_memory": peak})
