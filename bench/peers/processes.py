"""Each network in a process of its own, as in use.

In one process they would disturb each other: PyTorch and vimnp's kernels take one OpenMP run-time
then, whose waiting is set by whichever is imported first, and ``torch.set_num_threads`` is one
setting for all.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np

from peers.conversation import Conversation
from peers.registry import ALL_NETWORKS
from peers.units import threads

DEFAULT_SCAN = "fused"  # of vimnp
BENCH = Path(__file__).parents[1]

# bench takes the place of the folder that it is started in, where another vimnp may lie.
CODE = "import sys; sys.path[0] = sys.argv[1]; from peers.one import main; main(*sys.argv[2:])"


class Case(NamedTuple):
    """What runs in a process.

    Parameters
    ----------
    network : str
        Of ``ALL_NETWORKS``.
    num_threads : int
    scan : str
        Mode of vimnp's scans.
    """

    network: str
    num_threads: int
    scan: str = DEFAULT_SCAN

    def __str__(self) -> str:
        text = f"{ALL_NETWORKS[self.network].label}, {threads(self.num_threads)}"
        return text if self.scan == DEFAULT_SCAN else f"{text}, {self.scan}"

    def arguments(self, folder: Path) -> list[object]:
        """Of the process that runs ``CODE``; `folder` holds the weights and the picture."""
        return [BENCH, self.network, folder, self.num_threads, self.scan]


@contextmanager
def blas_threads(num_threads: int) -> Iterator[None]:
    """Processes that start here give NumPy's products so many threads, or one for each CPU."""
    number = min(num_threads, os.cpu_count() or 1)
    with mock.patch.dict(os.environ, OPENBLAS_NUM_THREADS=str(number)):
        yield


class Peer(Conversation):
    """A process that runs its network whenever it is asked to.

    Parameters
    ----------
    case : Case
    folder : Path
        With the weights and the picture.

    Attributes
    ----------
    logits : ndarray of float32, shape (1000,)
        Of its first pass.
    """

    def __init__(self, case: Case, folder: Path) -> None:
        self.case = case
        with blas_threads(case.num_threads):
            super().__init__(CODE, [*case.arguments(folder), "turns"], str(case))
        self.logits = np.array(self.answer(), np.float32)

    def turn(self) -> list[float]:
        """Seconds of each pass of a turn."""
        return self.ask()
