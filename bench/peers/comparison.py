"""The whole comparison: what is measured for which pictures, as one record."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from deit_tiny import PATCH_SIZE

from peers.latency import latencies
from peers.measurements import add_cold_starts, add_latencies, empty_record
from peers.networks import NETWORKS
from peers.processes import Case
from peers.record import Results
from peers.requirements import MEASURED
from peers.weights_files import write_all
from vimnp.ops.modes import SCAN_MODES

SCAN_NETWORK, SCAN_THREADS = "vim-numpy", (1, 2, 4)  # the backend that has all modes

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
    results = empty_record(rounds, MEASURED)
    for side in sorted(sides):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            log.info("%d x %d pixels: writes random weights", side, side)
            parameters = write_all(folder, side)
            cases = [Case(name, number) for number in threads for name in names]
            add_latencies(results, cases, side, folder, partial(_tokens, side=side))
            if side == min(sides):
                results["parameters"] = parameters
                add_cold_starts(results, names, side, max(threads), folder)
                _add_scan_modes(results, side, rounds, folder)
    return results


def _tokens(case: Case, side: int) -> dict[str, int]:
    """How many a network has, if it has any."""
    if NETWORKS[case.network].family == "resnet":
        return {}
    return {"tokens": (side // PATCH_SIZE) ** 2 + 1}


def _add_scan_modes(results: Results, side: int, rounds: int, folder: Path) -> None:
    log.info("%d x %d pixels: scan modes", side, side)
    cases = [Case(SCAN_NETWORK, number, scan) for number in SCAN_THREADS for scan in SCAN_MODES]
    seconds, _ = latencies(cases, folder, rounds)
    results["scan_modes"] = [
        {"scan": case.scan, "side": side, "threads": case.num_threads} | found._asdict()
        for case, found in seconds.items()
    ]
