"""Peak memory, and time from a process's start to its first token. Linux only."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import checkout  # noqa: F401  (finds tests.support)
import numpy as np
from children import seconds_to_output

from peers.language.networks import NETWORKS
from peers.language.processes import CODE, Case
from peers.processes import blas_threads
from tests.support.processes import peak_memory

COMMAND = "vimnp generate"
COMMAND_WEIGHTS = NETWORKS["vimnp-int8"].weights
PROMPT = "The with statement"

log = logging.getLogger(__name__)


class Start(NamedTuple):
    """Medians: bytes of resident memory at their highest, and seconds; None is not measured."""

    peak_memory: float | None
    first_token: float


def starts(names: Sequence[str], num_threads: int, folder: Path, rounds: int) -> dict[str, Start]:
    """Of each network by name, and of ``vimnp generate`` with int8 weights, if these are there.

    Parameters
    ----------
    names : sequence of str
        Of ``NETWORKS``.
    num_threads : int
    folder : Path
        With the weights and the ids.
    rounds : int
        Processes for the time of each network, which run in turn, and as many for its memory.
    """
    arguments = {name: Case(name, num_threads).arguments(folder) for name in names}
    memory: dict[str, float | None] = {}
    with blas_threads(num_threads):
        for name in names:
            log.info("  memory: %s", NETWORKS[name].label)
            peaks = [peak_memory(CODE, *arguments[name], "text") for _ in range(rounds)]
            memory[name] = float(np.median(peaks))
        commands: dict[str, Sequence[object]] = {
            name: [sys.executable, "-c", CODE, *arguments[name]] for name in names
        }
        weights = folder / COMMAND_WEIGHTS
        if find_spec("vimnp.commands.generate") and weights.exists():
            commands[COMMAND] = _generate(weights, num_threads)
        log.info("  first tokens: %d rounds of all", rounds)
        seconds = seconds_to_output(commands, rounds)
    return {name: Start(memory.get(name), seconds[name]) for name in commands}


def _generate(weights: Path, num_threads: int) -> list[object]:
    options = ["--weights", weights, "--threads", num_threads, "-n", 1, "--temp", 0]
    return [sys.executable, "-m", "vimnp", "generate", PROMPT, *options]
