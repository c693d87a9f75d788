"""What a language model is measured at: a prompt of random ids, and the tokens after it."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from vimnp.commands.passes import Passes
from vimnp.models.language import CHUNK, LanguageModel

if TYPE_CHECKING:
    from vimnp.engine.costs import Cost
    from vimnp.measure.profiling import Profile

# A call is long already: a prompt, or some tokens.
_WARM_UP = 1
_BURST = 1
_DECODED = 16  # tokens of a call, one after the other


class Prompt:
    """The logits after a prompt, from its first token on.

    Parameters
    ----------
    ids : ndarray of int, shape (batch, length)
    """

    name = "prompt"

    def __init__(self, ids: np.ndarray) -> None:
        self.units = ids.size
        self._ids = ids

    def prepare(self, model: LanguageModel) -> Callable[[], object]:
        """See :class:`vimnp.commands.passes.Pass`."""
        return functools.partial(model, self._ids, last_only=True)

    def bytes(self, model: LanguageModel) -> int | None:
        """None: arithmetic is the limit."""
        return None

    def profile(self, model: LanguageModel) -> Profile:
        """See :class:`vimnp.commands.passes.Pass`."""
        from vimnp.measure.profiling import profile_tokens

        return profile_tokens(model, self._ids)

    def costs(self, model: LanguageModel) -> dict[str, Cost]:
        """See :class:`vimnp.commands.passes.Pass`."""
        batch, length = self._ids.shape
        return {name: cost.times(batch) for name, cost in model.costs(length).items()}


class Decoding:
    """The logits after each of some tokens that come one by one: what writing a text takes.

    Parameters
    ----------
    ids : ndarray of int, shape (batch, length)
    """

    name = "decoding"

    def __init__(self, ids: np.ndarray) -> None:
        self.units = ids.size
        self._ids = ids
        self._next = Prompt(ids[:, :1])

    def prepare(self, model: LanguageModel) -> Callable[[], object]:
        """A call that goes on from where the last one has ended."""
        state = model.new_state(len(self._ids))

        def decode() -> None:
            for token in self._ids.T:
                model(token[:, np.newaxis], state=state, last_only=True)

        return decode

    def bytes(self, model: LanguageModel) -> int | None:
        """The weights above all; those of a pass serve all sequences."""
        length = self._ids.shape[1]
        return length * sum(cost.bytes for cost in model.costs().values())

    def profile(self, model: LanguageModel) -> Profile:
        """Of the next token."""
        return self._next.profile(model)

    def costs(self, model: LanguageModel) -> dict[str, Cost]:
        """Of the next token."""
        return self._next.costs(model)


def passes(options: argparse.Namespace, model: LanguageModel, tokens: int | None) -> Passes:
    """Those of a model, as the options say.

    Parameters
    ----------
    options : argparse.Namespace
    model : LanguageModel
    tokens : int, optional
        Of the prompt, if the options say nothing; None stands for as many as go through the network
        together. A prompt of a single token is no prompt, but the next token of a text.
    """
    length = options.tokens or tokens or CHUNK
    draw = np.random.default_rng(0).integers
    most = model.config.vocab_size
    decoding = Decoding(draw(most, size=(options.batch, _DECODED)))
    found: list[Prompt | Decoding] = [decoding]
    if length > 1:
        found.insert(0, Prompt(draw(most, size=(options.batch, length))))
    first = f"a prompt of {length}" if length > 1 else "one at a time"
    return Passes(
        passes=found,
        unit="tokens",
        warm_up=_WARM_UP,
        burst=_BURST,
        sizes=f"{first}; sequences: {options.batch}; matrices: {model.dtype}",
        facts={"tokens": length, "dtype": model.dtype},
    )
