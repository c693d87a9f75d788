"""Peak memory, and time from a process's start to its end: import, load, one pass. Linux only."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import checkout  # noqa: F401  (finds tests.support)
import numpy as np
from children import seconds_of

from peers.processes import CODE, Case, blas_threads
from peers.registry import ALL_NETWORKS
from tests.support.processes import peak_memory

log = logging.getLogger(__name__)


class Start(NamedTuple):
    """Medians: bytes of resident memory at their highest, and seconds."""

    peak_memory: float
    cold_start: float


def cold_starts(
    names: Sequence[str], num_threads: int, folder: Path, rounds: int
) -> dict[str, Start]:
    """Of each network, by name.

    Parameters
    ----------
    names : sequence of str
        Of ``ALL_NETWORKS``.
    num_threads : int
    folder : Path
        With the weights and the picture.
    rounds : int
        Processes for the time of each network, which run in turn, and as many for its memory.
    """
    arguments = {name: Case(name, num_threads).arguments(folder) for name in names}
    memory = {}
    with blas_threads(num_threads):
        for name in names:
            log.info("  memory: %s", ALL_NETWORKS[name].label)
            peaks = [peak_memory(CODE, *arguments[name]) for _ in range(rounds)]
            memory[name] = float(np.median(peaks))
        log.info("  cold start: %d rounds of all", rounds)
        commands = {name: [sys.executable, "-c", CODE, *arguments[name]] for name in names}
        seconds = seconds_of(commands, rounds)
    return {name: Start(memory[name], seconds[name]) for name in names}
