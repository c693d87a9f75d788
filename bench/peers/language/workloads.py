"""What is timed of each network."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from peers.language.runner import Runner

BATCH = 4  # sequences at once
PROMPTS = (128, 512)
LONGEST = max(PROMPTS)
NEW_TOKENS = 32  # of a sequence
FIRST_PROMPT = 16  # tokens before the first one that a process makes


class Workload(Protocol):
    """Something that a runner does with ids (BATCH, LONGEST).

    Attributes
    ----------
    label : str
        In tables.
    tokens : int
        How many it goes through, of all sequences.
    """

    label: str
    tokens: int

    def prepare(self, runner: Runner, ids: np.ndarray) -> None:
        """What is not timed: it wakes threads, too."""

    def run(self, runner: Runner, ids: np.ndarray) -> None:
        """What is."""


class Prompt:
    """A prompt from the beginning to the logits of its last token."""

    def __init__(self, length: int) -> None:
        self.label = f"prompt of {length}"
        self.tokens = length

    def prepare(self, runner: Runner, ids: np.ndarray) -> None:
        runner.read(ids[0, :FIRST_PROMPT])

    def run(self, runner: Runner, ids: np.ndarray) -> None:
        runner.read(ids[0, : self.tokens])


class Decoding:
    """One token after the other, of one or several sequences, with logits for each.

    The tokens are given, so that every network has the same ones.
    """

    def __init__(self, batch: int) -> None:
        self.label = "decoding" if batch == 1 else f"decoding, {batch} at once"
        self.tokens = batch * NEW_TOKENS
        self._batch = batch

    def prepare(self, runner: Runner, ids: np.ndarray) -> None:
        runner.begin(self._batch)
        runner.step(ids[: self._batch, 0])

    def run(self, runner: Runner, ids: np.ndarray) -> None:
        for index in range(1, 1 + NEW_TOKENS):
            runner.step(ids[: self._batch, index])


DECODE, DECODE_BATCH, PROMPT_LONGEST = "decode", "decode_batch", f"prompt_{LONGEST}"

WORKLOADS: dict[str, Workload] = {
    **{f"prompt_{length}": Prompt(length) for length in PROMPTS},
    DECODE: Decoding(1),
    DECODE_BATCH: Decoding(BATCH),
}
"""By their names in the record."""
