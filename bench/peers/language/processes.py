"""Each language model in a process of its own, as in use."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from peers.conversation import Conversation
from peers.language.networks import NETWORKS
from peers.language.one import CHECK
from peers.processes import BENCH, blas_threads
from peers.units import threads

# bench takes the place of the folder that it is started in, where another vimnp may lie.
START = "import sys; sys.path[0] = sys.argv[1]; "
CODE = START + "from peers.language.one import main; main(*sys.argv[2:])"
MEMORY_CODE = START + "from peers.language.memory import main; main(*sys.argv[2:])"


class Case(NamedTuple):
    """What runs in a process.

    Parameters
    ----------
    network : str
        Of ``NETWORKS``.
    num_threads : int
    """

    network: str
    num_threads: int

    def __str__(self) -> str:
        return f"{NETWORKS[self.network].label}, {threads(self.num_threads)}"

    def arguments(self, folder: Path) -> list[object]:
        """Of the process that runs ``CODE``; `folder` holds the weights and the ids."""
        return [BENCH, self.network, folder, self.num_threads]


class Peer(Conversation):
    """A process that does a workload with its network whenever it is asked to.

    Parameters
    ----------
    case : Case
    folder : Path
        With the weights and the ids.

    Attributes
    ----------
    logits : ndarray of float32, shape (rows, vocabulary)
        To compare: of ``one.check``.
    """

    def __init__(self, case: Case, folder: Path) -> None:
        self.case = case
        with blas_threads(case.num_threads):
            super().__init__(CODE, [*case.arguments(folder), "turns"], str(case))
        self.answer()  # the first token
        self.logits = np.array(self.ask(CHECK), np.float32)

    def turn(self, workload: str) -> float:
        """Seconds of one of ``WORKLOADS``."""
        return self.ask(workload)


class MemoryReader(Conversation):
    """A process that reads memory whenever it is asked to.

    Parameters
    ----------
    num_threads : int
    """

    def __init__(self, num_threads: int) -> None:
        super().__init__(MEMORY_CODE, [BENCH, num_threads], f"memory, {threads(num_threads)}")
        self.size: int = self.answer()

    def turn(self) -> list[float]:
        """Seconds of reading it, some times."""
        return self.ask()
