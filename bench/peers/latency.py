"""Seconds of a pass: all cases in turn, in one run."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np
from limits import PAUSE

from peers.networks import FAMILIES, NETWORKS
from peers.processes import Case, Peer

TOLERANCE = 1e-4  # of logits within a family, relative to the largest
FEWER = 4  # a network with a loop over tokens has every fourth round
FEWEST = 3  # rounds of anything, if there are as many

log = logging.getLogger(__name__)


class Seconds(NamedTuple):
    """Median and quartiles over the passes that counted, and their number."""

    median: float
    lower_quartile: float
    upper_quartile: float
    passes: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Seconds:
        lower, median, upper = map(float, np.percentile(seconds, (25, 50, 75)))
        return cls(median, lower, upper, len(seconds))


def latencies(
    cases: Iterable[Case], folder: Path, rounds: int
) -> tuple[dict[Case, Seconds], dict[str, float]]:
    """Measure all cases in turn.

    Parameters
    ----------
    cases : iterable of Case
    folder : Path
        With the weights and the picture.
    rounds : int
        Turns of each case; of one with a loop over tokens fewer.

    Returns
    -------
    seconds : dict
        By case.
    differences : dict
        By family, as of :func:`agreement`.

    Raises
    ------
    SystemExit
        If two networks of a family do not agree; nothing has been measured then.
    """
    with ExitStack() as stack:
        peers = []
        for case in cases:
            log.info("  starts: %s", case)
            peers.append(stack.enter_context(Peer(case, folder)))
        differences = agreement(peers)
        found: dict[Case, list[float]] = {peer.case: [] for peer in peers}
        for index in range(rounds):
            log.info("  round %d of %d", index + 1, rounds)
            for peer in peers:
                if index % interval(peer.case, rounds) == 0:
                    time.sleep(PAUSE)  # until the threads of the one before have come to rest
                    found[peer.case] += peer.turn()
    return {case: Seconds.of(seconds) for case, seconds in found.items()}, differences


def interval(case: Case, rounds: int) -> int:
    """Every how many rounds it is a case's turn."""
    if NETWORKS[case.network].loops_over_tokens:
        return max(1, min(FEWER, rounds // FEWEST))
    return 1


def agreement(peers: Sequence[Peer]) -> dict[str, float]:
    """Largest difference of logits from those of a family's first network, by family.

    Relative to the largest logit.

    Raises
    ------
    SystemExit
        If one is above the tolerance.
    """
    differences: dict[str, float] = {}
    for family in FAMILIES:
        members = [peer for peer in peers if NETWORKS[peer.case.network].family == family]
        for peer in members:
            expected = members[0].logits
            difference = float(np.abs(peer.logits - expected).max() / np.abs(expected).max())
            if not difference <= TOLERANCE:
                raise SystemExit(
                    f"{peer.case} and {members[0].case} differ by {difference:.1e} of the largest "
                    f"logit; expected at most {TOLERANCE}"
                )
            differences[family] = max(differences.get(family, 0.0), difference)
    return differences
