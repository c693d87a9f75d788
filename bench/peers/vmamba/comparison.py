"""The whole comparison of VMamba with its peers, as one record.

It has what that of Vision Mamba has (``peers/record.py``), but for scan modes, and:

    size        of the networks: a name of ``SIZES``
    lacks       the instructions that the targets are for and this CPU does not have
    left_out    a row for each network, side and number of threads whose logits are wrong
    steps       a row for each VMamba in vimnp's native backend, as of ``steps.py``
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

from instructions import lacking

from peers.measurements import add_cold_starts, add_latencies, empty_record
from peers.processes import Case
from peers.record import Results
from peers.requirements import MEASURED
from peers.vmamba.networks import NETWORKS, VMAMBAS
from peers.vmamba.sizes import SIZES
from peers.vmamba.steps import steps
from peers.vmamba.targets import WANTED
from peers.vmamba.weights_files import write_all

log = logging.getLogger(__name__)


def compare(
    names: Sequence[str], size: str, sides: Sequence[int], threads: Sequence[int], rounds: int
) -> Results:
    """Measure everything.

    Parameters
    ----------
    names : sequence of str
        Of ``NETWORKS``.
    size : str
        Of ``SIZES``.
    sides : sequence of int
        Heights and widths of pictures in pixels. Cold starts, memory and steps are for the
        smallest.
    threads : sequence of int
        Numbers of threads. Cold starts and memory are for the largest.
    rounds : int
        Turns of each network; those with large pictures or a loop have fewer.
    """
    results = empty_record(rounds, (*MEASURED, "openvino"))
    results |= {"size": size, "lacks": lacking(WANTED), "left_out": [], "steps": []}
    for side in sorted(sides):
        smallest = side == min(sides)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            log.info("%d x %d pixels: writes random weights", side, side)
            chosen = [name for name in names if smallest or not NETWORKS[name].smallest_only]
            parameters = write_all(folder, SIZES[size], side, chosen)
            for number in sorted(threads):
                # Not all numbers of threads at once: so many processes would fill the memory.
                cases = [Case(name, number) for name in chosen]
                add_latencies(results, cases, side, folder)
            if smallest:
                results["parameters"] = parameters
                wrong = {row["network"] for row in results["left_out"]}
                right = [name for name in names if name not in wrong]
                add_cold_starts(results, right, side, max(threads), folder)
                _add_steps(results, names, side, folder)
    return results


def _add_steps(results: Results, names: Sequence[str], side: int, folder: Path) -> None:
    for family in VMAMBAS:
        native = f"{family}-native"
        if native in names:
            log.info("%d x %d pixels: steps of %s", side, side, NETWORKS[native].label)
            found = steps(folder / NETWORKS[native].weights, results["rounds"])
            results["steps"].append({"family": family, "side": side} | found)
