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

from peers.networks import TOLERANCES
from peers.processes import Case, Peer
from peers.registry import ALL_NETWORKS

TOLERANCE = TOLERANCES["float32"]  # where nothing is rounded
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


class Agreement(NamedTuple):
    """How far logits are from those of a family's first network, relative to the largest of these.

    Parameters
    ----------
    differences : dict
        The largest, by family and precision.
    left_out : dict
        By case: those above the tolerance.
    """

    differences: dict[tuple[str, str], float]
    left_out: dict[Case, float]


def latencies(
    cases: Iterable[Case], folder: Path, rounds: int
) -> tuple[dict[Case, Seconds], Agreement]:
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
        By case, without those that are left out.
    agreement : Agreement

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
        found_agreement = agreement(peers)
        peers = [peer for peer in peers if peer.case not in found_agreement.left_out]
        found: dict[Case, list[float]] = {peer.case: [] for peer in peers}
        for index in range(rounds):
            log.info("  round %d of %d", index + 1, rounds)
            for peer in peers:
                if index % interval(peer.case, rounds) == 0:
                    time.sleep(PAUSE)  # until the threads of the one before have come to rest
                    found[peer.case] += peer.turn()
    return {case: Seconds.of(seconds) for case, seconds in found.items()}, found_agreement


def interval(case: Case, rounds: int) -> int:
    """Every how many rounds it is a case's turn."""
    if ALL_NETWORKS[case.network].loops_over_tokens:
        return max(1, min(FEWER, rounds // FEWEST))
    return 1


def agreement(peers: Sequence[Peer]) -> Agreement:
    """Compare the logits of all networks of each family with those of its first one.

    Raises
    ------
    SystemExit
        If a difference is above its precision's tolerance, of a network that cannot be wrong.
    """
    found = Agreement({}, {})
    firsts: dict[str, Peer] = {}
    for peer in peers:
        network = ALL_NETWORKS[peer.case.network]
        first = firsts.setdefault(network.family, peer)
        scale = np.abs(first.logits).max()
        difference = float(np.abs(peer.logits - first.logits).max() / scale)
        tolerance = TOLERANCES[network.precision]
        if difference <= tolerance:
            key = network.family, network.precision
            found.differences[key] = max(found.differences.get(key, 0.0), difference)
            continue
        what = f"{peer.case} and {first.case} differ by {difference:.1e} of the largest logit"
        if not network.may_be_wrong:
            raise SystemExit(f"{what}; expected at most {tolerance}")
        log.info("  left out: %s", what)
        found.left_out[peer.case] = difference
    return found
