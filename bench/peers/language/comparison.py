"""The whole comparison of language models, as one record."""

from __future__ import annotations

import logging
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path

from instructions import lacking
from surroundings import header

from peers.language.networks import NETWORKS
from peers.language.sizes import SIZES
from peers.language.speed import speeds
from peers.language.starts import starts
from peers.language.targets import WANTED
from peers.language.weights_files import write_all
from peers.language.workloads import WORKLOADS
from peers.record import Results

FEWER_STARTS = 2  # a process starts for every second round

log = logging.getLogger(__name__)


def compare(names: Sequence[str], size: str, threads: Sequence[int], rounds: int) -> Results:
    """Measure everything.

    Parameters
    ----------
    names : sequence of str
        Of ``NETWORKS``.
    size : str
        Of ``SIZES``.
    threads : sequence of int
        Numbers of threads. Starts and memory are for the largest.
    rounds : int
        Turns of each network.

    Returns
    -------
    dict
        As record.py says.
    """
    config = SIZES[size]
    parameters = sum(math.prod(tensor.shape) for tensor in config.tensors().values())
    packages = dict.fromkeys(["vimnp", "numpy", *(NETWORKS[name].package for name in names)])
    results: Results = header(tuple(packages)) | {
        "lacks": lacking(WANTED),
        "rounds": rounds,
        "size": size,
        "parameters": parameters,
        "weight_bytes": 4 * parameters,
        "speed": [],
        "memory_rate": [],
        "agreement": [],
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log.info("writes random weights")
        write_all(folder, config, [NETWORKS[name].weights for name in names])
        for number in sorted(threads):
            _add_speeds(results, names, number, folder, rounds)
        most = max(threads)
        log.info("processes from their start")
        found = starts(names, most, folder, max(rounds // FEWER_STARTS, 1))
        results["start"] = [
            {"network": name, "threads": most} | start._asdict() for name, start in found.items()
        ]
    return results


def _add_speeds(
    results: Results, names: Sequence[str], num_threads: int, folder: Path, rounds: int
) -> None:
    found = speeds(names, num_threads, folder, rounds)
    for (network, workload), seconds in found.seconds.items():
        what = {"network": network, "threads": num_threads, "workload": workload}
        what["tokens"] = WORKLOADS[workload].tokens
        results["speed"].append(what | seconds._asdict())
    results["memory_rate"].append({"threads": num_threads} | found.memory)
    for network, difference in found.differences.items():
        row = {"network": network, "threads": num_threads, "difference": difference}
        results["agreement"].append(row)
