"""Mamba in Hugging Face's transformers, on PyTorch."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before the import, which reads it

from transformers import MambaForCausalLM
from transformers.utils import logging


class TransformersRunner:
    """A :class:`Runner`.

    Its cache is kept as it is: with one token at a time it goes on from there.

    Parameters
    ----------
    path : Path
        A folder in Hugging Face's layout.
    num_threads : int
    """

    def __init__(self, path: Path, num_threads: int) -> None:
        torch.set_num_threads(num_threads)
        if torch.get_num_interop_threads() != 1:  # may be set only once
            torch.set_num_interop_threads(1)
        logging.set_verbosity_error()  # that there are no kernels for CUDA
        logging.disable_progress_bar()
        self._model = MambaForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
        self._cache: object = None

    def read(self, ids: np.ndarray) -> np.ndarray:
        self._cache = None
        return self._run(ids[None])[0]

    def begin(self, batch: int) -> None:
        self._cache = None

    def step(self, ids: np.ndarray) -> np.ndarray:
        return self._run(ids[:, None])

    def _run(self, ids: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            output = self._model(
                torch.from_numpy(ids.astype(np.int64)),
                cache=self._cache,
                use_cache=True,
                logits_to_keep=1,
            )
        self._cache = output.cache
        return output.logits[:, -1].numpy()
