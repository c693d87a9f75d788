"""The whole comparison: what is measured for which pictures, as one record."""

from __future__ import annotations

import datetime
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

from deit_tiny import PATCH_SIZE

from peers.cold_start import cold_starts
from peers.latency import FEWEST, latencies
from peers.networks import NETWORKS
from peers.processes import Case
from peers.record import Results
from peers.requirements import versions
from peers.weights_files import write_all
from vimnp.measure.machine import describe_machine
from vimnp.ops.modes import SCAN_MODES

SCAN_NETWORK, SCAN_THREADS = "vim-numpy", (1, 2, 4)  # the backend that has all modes
USUAL_SIDE = 224  # rounds are for this one; larger pictures get fewer
FEWER_STARTS = 4  # a process starts for every fourth round

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
        Heights and widths of pictures in pixels. Cold starts, memory and scan modes are for the
        smallest.
    threads : sequence of int
        Numbers of threads. Cold starts and memory are for the largest.
    rounds : int
        Turns of each network.

    Returns
    -------
    dict
        As record.py says.
    """
    results: Results = {
        "date": datetime.date.today().isoformat(),
        "machine": describe_machine().lines,
        "versions": versions(),
        "rounds": rounds,
        "latency": [],
        "agreement": [],
    }
    for side in sorted(sides):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            log.info("%d x %d pixels: writes random weights", side, side)
            parameters = write_all(folder, side)
            _add_latencies(results, names, side, threads, rounds, folder)
            if side == min(sides):
                results["parameters"] = parameters
                _add_cold_starts(results, names, side, max(threads), rounds, folder)
                _add_scan_modes(results, side, rounds, folder)
    return results


def _add_latencies(
    results: Results,
    names: Sequence[str],
    side: int,
    threads: Sequence[int],
    rounds: int,
    folder: Path,
) -> None:
    log.info("%d x %d pixels: latency", side, side)
    cases = [Case(name, number) for number in threads for name in names]
    fewer = max(rounds * USUAL_SIDE // side, FEWEST)
    seconds, differences = latencies(cases, folder, min(fewer, rounds))
    for case, found in seconds.items():
        what = {"network": case.network, "side": side, "threads": case.num_threads}
        if NETWORKS[case.network].family != "resnet":  # which has no tokens
            what["tokens"] = (side // PATCH_SIZE) ** 2 + 1
        results["latency"].append(what | found._asdict())
    for family, difference in differences.items():
        results["agreement"].append({"family": family, "side": side, "difference": difference})


def _add_cold_starts(
    results: Results,
    names: Sequence[str],
    side: int,
    num_threads: int,
    rounds: int,
    folder: Path,
) -> None:
    log.info("%d x %d pixels: processes from their start", side, side)
    starts = cold_starts(names, num_threads, folder, max(rounds // FEWER_STARTS, 1))
    results["start"] = [
        {"network": name, "side": side, "threads": num_threads} | start._asdict()
        for name, start in starts.items()
    ]


def _add_scan_modes(results: Results, side: int, rounds: int, folder: Path) -> None:
    log.info("%d x %d pixels: scan modes", side, side)
    cases = [Case(SCAN_NETWORK, number, scan) for number in SCAN_THREADS for scan in SCAN_MODES]
    seconds, _ = latencies(cases, folder, rounds)
    results["scan_modes"] = [
        {"scan": case.scan, "side": side, "threads": case.num_threads} | found._asdict()
        for case, found in seconds.items()
    ]
