"""Seconds that weights take to load once their run-time is imported, and the size of their file."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np

from peers.conversation import Conversation
from peers.processes import Case, blas_threads
from peers.registry import ALL_NETWORKS

CODE = "import sys; sys.path[0] = sys.argv[1]; from peers.loading import main; main(*sys.argv[2:])"

log = logging.getLogger(__name__)


class Loading(NamedTuple):
    """Bytes of the file, and median seconds; the file is in memory."""

    file_size: int
    load: float


def loadings(
    names: Sequence[str], num_threads: int, folder: Path, rounds: int
) -> dict[str, Loading]:
    """Of each network, by name.

    Parameters
    ----------
    names : sequence of str
        Of ``ALL_NETWORKS``.
    num_threads : int
    folder : Path
        With the weights.
    rounds : int
        Of all networks in turn.
    """
    seconds: dict[str, list[float]] = {name: [] for name in names}
    log.info("  loading: %d rounds of all", rounds)
    with ExitStack() as stack, blas_threads(num_threads):
        cases = {name: Case(name, num_threads) for name in names}
        processes = {
            name: stack.enter_context(Conversation(CODE, case.arguments(folder), str(case)))
            for name, case in cases.items()
        }
        for _ in range(rounds):
            for name, process in processes.items():
                seconds[name].append(process.ask())
    return {
        name: Loading(
            (folder / ALL_NETWORKS[name].weights).stat().st_size, float(np.median(seconds[name]))
        )
        for name in names
    }


def main(name: str, folder: str, num_threads: str, scan: str) -> None:
    """Load a network for every line of the standard input, and print the seconds of each.

    Parameters are those of ``one.py``. The time before, in which modules are imported, has a
    network load that nobody asked for.
    """
    network = ALL_NETWORKS[name]

    def load() -> float:
        start = time.perf_counter()
        network.load(Path(folder, network.weights), int(num_threads), scan)
        return time.perf_counter() - start

    load()
    for _ in sys.stdin:
        print(json.dumps(load()), flush=True)
