"""Mamba in vimnp."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import vimnp


class VimnpRunner:
    """A :class:`Runner`.

    Parameters
    ----------
    path : Path
        A weights file; matrices are multiplied as they are stored in it.
    num_threads : int
    backend : {"native", "numpy"}
        The latter's products have the threads of ``OPENBLAS_NUM_THREADS``, which
        ``peers/processes.py`` sets.
    """

    def __init__(self, path: Path, num_threads: int, backend: str) -> None:
        self._model = vimnp.MambaLM.from_npz(path, backend=backend, num_threads=num_threads)
        self._state = self._model.new_state()

    def read(self, ids: np.ndarray) -> np.ndarray:
        self.begin(1)
        return self._model(ids[None], state=self._state, last_only=True)[0]

    def begin(self, batch: int) -> None:
        self._state = self._model.new_state(batch)

    def step(self, ids: np.ndarray) -> np.ndarray:
        return self._model(ids[:, None], state=self._state, last_only=True)
