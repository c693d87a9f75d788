"""Mamba in llama.cpp, through llama-cpp-python's own bindings of its C functions.

Its class ``Llama`` keeps one sequence only, and copies more logits than are asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import llama_cpp
import numpy as np

from peers.language.llama_log import silence
from peers.language.workloads import BATCH, LONGEST

MOST_TOKENS = 2 * LONGEST  # of a sequence


class LlamaRunner:
    """A :class:`Runner`.

    Parameters
    ----------
    path : Path
        A GGUF file.
    num_threads : int

    Raises
    ------
    RuntimeError
        If llama.cpp does not load the file.
    """

    def __init__(self, path: Path, num_threads: int) -> None:
        silence()
        llama_cpp.llama_backend_init()
        model = llama_cpp.llama_model_load_from_file(
            bytes(path), llama_cpp.llama_model_default_params()
        )
        if not model:
            raise RuntimeError(f"llama.cpp does not load {path}")
        settings = llama_cpp.llama_context_default_params()
        settings.n_ctx = BATCH * MOST_TOKENS
        settings.n_batch = settings.n_ubatch = LONGEST
        settings.n_seq_max = BATCH
        settings.n_threads = settings.n_threads_batch = num_threads
        self._context = llama_cpp.llama_init_from_model(model, settings)
        if not self._context:
            raise RuntimeError(f"llama.cpp has no memory for {path}")
        vocabulary = llama_cpp.llama_model_get_vocab(model)
        self._vocab_size = llama_cpp.llama_vocab_n_tokens(vocabulary)
        self._batch = llama_cpp.llama_batch_init(LONGEST, 0, 1)
        self._position = 0

    def read(self, ids: np.ndarray) -> np.ndarray:
        self.begin(1)
        last = len(ids) - 1
        for index, token in enumerate(ids.tolist()):
            self._put(index, token, sequence=0, position=index, wanted=index == last)
        self._position = len(ids)
        return self._run(len(ids), [last])[0]

    def begin(self, batch: int) -> None:
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self._context), True)
        self._position = 0

    def step(self, ids: np.ndarray) -> np.ndarray:
        for index, token in enumerate(ids.tolist()):
            self._put(index, token, sequence=index, position=self._position, wanted=True)
        self._position += 1
        return self._run(len(ids), range(len(ids)))

    def _put(self, index: int, token: int, *, sequence: int, position: int, wanted: bool) -> None:
        """Fill a place of the pass."""
        self._batch.token[index] = token
        self._batch.pos[index] = position
        self._batch.n_seq_id[index] = 1
        self._batch.seq_id[index][0] = sequence
        self._batch.logits[index] = wanted

    def _run(self, tokens: int, wanted: Sequence[int]) -> np.ndarray:
        """Logits of the places that are wanted."""
        self._batch.n_tokens = tokens
        status = llama_cpp.llama_decode(self._context, self._batch)
        if status:
            raise RuntimeError(f"llama_decode says {status}")
        rows = [llama_cpp.llama_get_logits_ith(self._context, index) for index in wanted]
        return np.stack([np.ctypeslib.as_array(row, (self._vocab_size,)) for row in rows])
