"""What a network in a run-time can be asked for, whichever run-time it is."""

from __future__ import annotations

from typing import Protocol

import numpy as np


class Runner(Protocol):
    """One network that has been loaded, and the states that it goes on from.

    A runner is made from a path and a number of threads.
    """

    def read(self, ids: np.ndarray) -> np.ndarray:
        """Begin a sequence with a prompt.

        Parameters
        ----------
        ids : ndarray of int, shape (length,)

        Returns
        -------
        ndarray of float32, shape (vocabulary,)
            Logits after the last one.
        """

    def begin(self, batch: int) -> None:
        """Forget everything; the next steps are of so many sequences."""

    def step(self, ids: np.ndarray) -> np.ndarray:
        """Go on with one token of each sequence: of one after a prompt.

        Parameters
        ----------
        ids : ndarray of int, shape (batch,)

        Returns
        -------
        ndarray of float32, shape (batch, vocabulary)
        """
