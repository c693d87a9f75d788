"""How likely a language model finds a text: log-probabilities, perplexity, bits a byte.

``loglikelihood`` and its rolling form are those of the Language Model Evaluation Harness (lm_eval),
so that figures can be compared: log-probabilities go over the padded vocabulary, an empty context
is the id that ends a text, and the spaces at the end of a context belong to what follows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from vimnp.counts import checked_count
from vimnp.engine.state import State
from vimnp.errors import TextError
from vimnp.models.language import LanguageModel
from vimnp.models.sampling import log_probabilities
from vimnp.text.protocol import TextCodec

WINDOW = 2048
"""Tokens of a window, where lm_eval is not told another number."""

_MOST_TOKENS = 1 << 40
_AT_ONCE = 32
"""Tokens whose logits are in memory together: 50,000 ids in float64 are 13 MB then."""


class Likelihood(NamedTuple):
    """How likely some tokens are after what came before them.

    Parameters
    ----------
    logprob : float
        The sum of their log-probabilities, natural.
    is_greedy : bool
        Whether each of them was the likeliest at its place.
    tokens : int
        How many they are.
    """

    logprob: float = 0.0
    is_greedy: bool = True
    tokens: int = 0

    def plus(self, other: Likelihood) -> Likelihood:
        """Of both."""
        return Likelihood(
            self.logprob + other.logprob,
            self.is_greedy and other.is_greedy,
            self.tokens + other.tokens,
        )


class TextLikelihood(NamedTuple):
    """How likely a whole text is.

    Parameters
    ----------
    logprob : float
        The sum of all tokens' log-probabilities, natural.
    tokens : int
    num_bytes : int
        Of the text in UTF-8.
    """

    logprob: float
    tokens: int
    num_bytes: int

    @property
    def perplexity(self) -> float:
        """Per token; infinite where it is beyond what a float holds."""
        return _exp(-self.logprob / self.tokens)

    @property
    def bits_per_byte(self) -> float:
        """What an arithmetic coder would need with this model."""
        return -self.logprob / math.log(2) / self.num_bytes


def of_ids(
    model: LanguageModel,
    context: Sequence[int],
    continuation: Sequence[int],
    *,
    state: State | None = None,
    on_progress: Callable[[int], object] = lambda tokens: None,
) -> Likelihood:
    """How likely some ids are after others.

    Parameters
    ----------
    model : LanguageModel
    context : sequence of int
        One id at least.
    continuation : sequence of int
        One id at least.
    state : State, optional
        Of what came before the context; it then knows all but the last id of the continuation.
    on_progress : callable
        Called with numbers of tokens as they are done.

    Returns
    -------
    Likelihood

    Raises
    ------
    TextError
        If one of the two is empty, or an id is none of the network's.
    """
    if not len(context) or not len(continuation):
        what = "context" if not len(context) else "continuation"
        raise TextError(f"the {what} has no ids; expected one or more")
    if state is None:
        state = model.new_state()
    if len(context) > 1:
        model(np.asarray(context[:-1]), state=state, last_only=True)
    read = np.asarray([*context[-1:], *continuation[:-1]])
    found = Likelihood()
    for begin in range(0, len(read), _AT_ONCE):
        part = slice(begin, begin + _AT_ONCE)
        logits = model(read[part], state=state)
        found = found.plus(_likelihood(logits, np.asarray(continuation[part])))
        on_progress(len(logits))
    return found


def loglikelihood(
    model: LanguageModel, context: str, continuation: str, *, max_length: int | None = None
) -> Likelihood:
    """How likely a text is after another.

    Parameters
    ----------
    model : LanguageModel
        With a tokenizer.
    context : str
        Where it is empty, the id that ends a text stands in its place.
    continuation : str
    max_length : int, optional
        Tokens of both together that are read at most; the first ones are left out.

    Returns
    -------
    Likelihood

    Raises
    ------
    TextError
        If the continuation is empty, or the model has no tokenizer.
    """
    (found,) = loglikelihoods(model, [(context, continuation)], max_length=max_length)
    return found


def loglikelihoods(
    model: LanguageModel, pairs: Iterable[tuple[str, str]], *, max_length: int | None = None
) -> Iterator[Likelihood]:
    """How likely each text is after its context; see :func:`loglikelihood`.

    A context that follows itself, as where there are several answers to a question, is read once.

    Parameters
    ----------
    model : LanguageModel
        With a tokenizer.
    pairs : iterable of (str, str)
        Context and continuation.
    max_length : int, optional
        As for :func:`loglikelihood`.

    Yields
    ------
    Likelihood
    """
    most = None if max_length is None else checked_count("max_length", max_length, _MOST_TOKENS)
    read: list[int] = []
    state = model.new_state()
    for context, continuation in pairs:
        before, after = _shortened(*encoded_pair(model, context, continuation), most)
        if before[:-1] != read:
            read, state = before[:-1], model.new_state()
            if read:
                model(read, state=state, last_only=True)
        yield of_ids(model, before[-1:], after, state=state.copy())


def _shortened(before: list[int], after: list[int], most: int | None) -> tuple[list[int], ...]:
    """The last ids of both: so many are read, and one that is only judged."""
    if most is None:
        return before, after
    kept, judged = [*before, *after][-most - 1 :], min(len(after), most)
    return kept[:-judged], kept[-judged:]


def encoded_pair(
    model: LanguageModel, context: str, continuation: str
) -> tuple[list[int], list[int]]:
    """Ids of two texts that follow each other, as they are when both are encoded together."""
    tokenizer = tokenizer_of(model)
    if not continuation:
        raise TextError("the continuation is empty; expected a text")
    spaces = len(context) - len(context.rstrip())
    if spaces:
        continuation, context = context[-spaces:] + continuation, context[:-spaces]
    if not context:
        return [end_of_text(model)], tokenizer.encode(continuation)
    before, both = tokenizer.encode(context), tokenizer.encode(context + continuation)
    return both[: len(before)], both[len(before) :]


class EncodedText(NamedTuple):
    """Ids of a text, and the bytes that it has in UTF-8."""

    ids: list[int]
    num_bytes: int


def encoded_text(model: LanguageModel, text: str, limit: int | None = None) -> EncodedText:
    """The ids of a text, or the first ones of them.

    Parameters
    ----------
    model : LanguageModel
        With a tokenizer.
    text : str
    limit : int, optional
        So many ids at most.

    Raises
    ------
    TextError
        If the text is empty, or the model has no tokenizer.
    """
    tokenizer = tokenizer_of(model)
    ids = tokenizer.encode(text)
    if not ids:
        raise TextError("the text is empty; expected one token or more")
    if limit is None or len(ids) <= limit:
        return EncodedText(ids, len(text.encode()))
    return EncodedText(ids[:limit], len(tokenizer.decode(ids[:limit]).encode()))


def likelihood_of(
    model: LanguageModel,
    text: EncodedText,
    *,
    window: int | None = None,
    on_progress: Callable[[int], object] = lambda tokens: None,
) -> TextLikelihood:
    """How likely a whole text is, from its first token on.

    Parameters
    ----------
    model : LanguageModel
        With a tokenizer.
    text : EncodedText
    window : int, optional
        Read so many tokens at a time and forget what came before them but the last one, as lm_eval
        does. Without it the state is carried through the whole text: each token is judged by all
        that stand before it.
    on_progress : callable
        Called with numbers of tokens as they are done.
    """
    start, found = end_of_text(model), Likelihood()
    size = len(text.ids) if window is None else checked_count("window", window, _MOST_TOKENS)
    for context, continuation in windows(text.ids, start, size):
        found = found.plus(of_ids(model, context, continuation, on_progress=on_progress))
    return TextLikelihood(found.logprob, found.tokens, text.num_bytes)


def loglikelihood_rolling(model: LanguageModel, text: str, *, max_length: int = WINDOW) -> float:
    """The log-probability of a whole text, in windows of `max_length` tokens, as lm_eval has it."""
    return likelihood_of(model, encoded_text(model, text), window=max_length).logprob


def windows(ids: Sequence[int], start: int, size: int) -> Iterator[tuple[list[int], list[int]]]:
    """Cut ids into windows: each id is in one, after what that window knows of before.

    Parameters
    ----------
    ids : sequence of int
    start : int
        Stands before the first id.
    size : int
        Ids that a window reads at most. The last one, of fewer new ids, has older ones before them
        up to that number.

    Yields
    ------
    context, continuation : list of int
    """
    known = [start, *ids]
    for begin in range(0, len(ids), size):
        end = min(begin + size, len(ids))
        first = max(0, end - size) if begin else 0
        yield known[first : begin + 1], list(ids[begin:end])


def end_of_text(model: LanguageModel) -> int:
    """The id that stands before a text; 0 where the network knows none that ends one."""
    eos_ids: tuple[int, ...] = model.config.eos_ids
    return eos_ids[0] if eos_ids else 0


def _likelihood(logits: np.ndarray, ids: np.ndarray) -> Likelihood:
    logprobs = log_probabilities(logits)
    taken = logprobs[np.arange(len(ids)), ids]
    is_greedy = bool((logits.argmax(axis=-1) == ids).all())
    return Likelihood(float(taken.sum()), is_greedy, len(ids))


def tokenizer_of(model: LanguageModel) -> TextCodec:
    """The model's tokenizer. Raises TextError if it has none."""
    if model.tokenizer is None:
        raise TextError(
            "the weights have no tokenizer; expected some that were converted with tokenizer.json: "
            "vimnp convert takes it from the checkpoint's folder"
        )
    return model.tokenizer


def _exp(x: float) -> float:
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf
