"""Seconds of all workloads of all networks in turn, and of reading memory between them."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from limits import PAUSE

from peers.language.networks import NETWORKS, TOLERANCES
from peers.language.processes import Case, MemoryReader, Peer
from peers.language.workloads import WORKLOADS
from peers.latency import Seconds
from peers.units import threads

log = logging.getLogger(__name__)


class Speeds(NamedTuple):
    """Of one number of threads.

    Parameters
    ----------
    seconds : dict
        By network and workload.
    memory : dict
        Bytes that are read, and seconds of that, as a row of the record.
    differences : dict
        By network, as of :func:`agreement`.
    """

    seconds: dict[tuple[str, str], Seconds]
    memory: dict[str, Any]
    differences: dict[str, float]


def speeds(names: Sequence[str], num_threads: int, folder: Path, rounds: int) -> Speeds:
    """Measure all networks in turn, whose processes are alive at once.

    Parameters
    ----------
    names : sequence of str
        Of ``NETWORKS``.
    num_threads : int
    folder : Path
        With the weights and the ids.
    rounds : int
        Turns of each.

    Raises
    ------
    SystemExit
        If networks do not agree; nothing has been measured then.
    """
    with ExitStack() as stack:
        peers = []
        for name in names:
            case = Case(name, num_threads)
            log.info("  starts: %s", case)
            peers.append(stack.enter_context(Peer(case, folder)))
        differences = agreement(peers)
        memory = stack.enter_context(MemoryReader(num_threads))
        reads: list[float] = []
        found: dict[tuple[str, str], list[float]] = {
            (name, workload): [] for name in names for workload in WORKLOADS
        }
        for index in range(rounds):
            log.info("  %s: round %d of %d", threads(num_threads), index + 1, rounds)
            time.sleep(PAUSE)  # until the threads of the one before have come to rest
            reads += memory.turn()
            for peer in peers:
                for workload in WORKLOADS:
                    time.sleep(PAUSE)
                    found[peer.case.network, workload].append(peer.turn(workload))
        return Speeds(
            {case: Seconds.of(seconds) for case, seconds in found.items()},
            {"bytes": memory.size} | Seconds.of(reads)._asdict(),
            differences,
        )


def agreement(peers: Sequence[Peer]) -> dict[str, float]:
    """Largest difference of logits from those of the first network of float32, by network.

    Relative to the largest of these, in every row.

    Raises
    ------
    SystemExit
        If one is above the tolerance of its storage.
    """
    first = min(peers, key=lambda peer: NETWORKS[peer.case.network].storage != "float32")
    scale = np.abs(first.logits).max(axis=1)
    differences = {}
    for peer in peers:
        relative = np.abs(peer.logits - first.logits).max(axis=1) / scale
        difference = float(relative.max())
        storages = (NETWORKS[each.case.network].storage for each in (peer, first))
        tolerance = max(TOLERANCES[storage] for storage in storages)
        if not difference <= tolerance:
            raise SystemExit(
                f"{peer.case} and {first.case} differ by {difference:.1e} of the largest logit; "
                f"expected at most {tolerance}"
            )
        differences[peer.case.network] = difference
    return differences
