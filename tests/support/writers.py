"""Models that write without a network, for the tests of generation."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from vimnp.engine.settings import Way
from vimnp.engine.state import State, StateSizes
from vimnp.models.generation import GenerationStream, stream
from vimnp.text.byte_tokenizer import Bytes
from vimnp.text.protocol import TextCodec

SIZES = StateSizes(n_layer=1, d_conv=3, d_inner=16, d_state=1)


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """What generation asks of a configuration."""

    vocab_size: int = 256
    eos_ids: tuple[int, ...] = ()


class Writer:
    """Logits of a table that the last two tokens are looked up in; its state has these two.

    What it is called with is noted.
    """

    def __init__(
        self,
        config: Vocabulary | None = None,
        tokenizer: TextCodec | None = None,
        *,
        padding: int = 0,
        seed: int = 0,
    ) -> None:
        self.config = config or Vocabulary(eos_ids=(0,))
        self.tokenizer = tokenizer
        self.calls: list[tuple[int, ...]] = []
        self._padded = self.config.vocab_size + padding
        self._table = np.random.default_rng(seed).standard_normal((7, self._padded, self._padded))

    def new_state(self, batch: int = 1) -> State:
        return State(SIZES, batch, digest="a writer's")

    def __call__(
        self, ids: np.ndarray, *, state: State | None = None, last_only: bool = False
    ) -> np.ndarray:
        assert ids.ndim == 2
        assert ids.size
        self.calls.append(ids.shape)
        state = self.new_state(len(ids)) if state is None else state
        state.check_weights(SIZES, "a writer's")
        with state.advance(ids):
            logits = np.stack([self.after_each(row, state, index) for index, row in enumerate(ids)])
        return logits[:, -1] if last_only else logits

    def after_each(self, ids: np.ndarray, state: State, row: int) -> np.ndarray:
        """Logits after each token of a row."""
        last_two, logits = state.conv[0][row, :, 0], []
        for token in ids:
            last_two[:] = last_two[1], token
            logits.append(self._table[int(last_two[0]) % 7, int(last_two[1])])
        return 3 * np.array(logits, np.float32)


class Scripted(Writer):
    """Writes what it was told to, after a prompt of so many tokens; later texts a row each."""

    def __init__(
        self, script: Sequence[int], prompt: int = 1, eos_ids: tuple[int, ...] = ()
    ) -> None:
        super().__init__(Vocabulary(eos_ids=eos_ids), Bytes())
        self._script, self._prompt = [*script, *bytes(1000)], prompt

    def after_each(self, ids: np.ndarray, state: State, row: int) -> np.ndarray:
        logits = np.zeros((len(ids), self._padded), np.float32)
        first = len(state.ids[row]) + 1 - self._prompt
        for index in range(len(ids)):
            if first + index >= 0:
                logits[index, self._script[first + index]] = 1
        return logits


class ScriptedModel(Scripted):
    """The same with what commands ask a model for."""

    way = Way("numpy", "fused", 1, "none")

    def __init__(self, script: Sequence[int], prompt: int = 1, **options: Any) -> None:
        self.metadata = SimpleNamespace(chat_template=options.pop("chat_template", None))
        super().__init__(script, prompt, **options)

    def stream(self, prompt: Any, **options: Any) -> GenerationStream:
        return stream(self, prompt, **options)

    def load_state(self, path: str | os.PathLike[str]) -> State:
        return State.load(path, SIZES, digest="a writer's", num_ids=256)
