"""The next token from the logits: what is left of them, and which one is drawn.

The filters, their order and their numbers are those of transformers' ``generate``: bias, repetition
penalty, temperature, top-k, top-p, min-p.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from vimnp.counts import checked_count
from vimnp.errors import ConfigError, WeightsError

_LARGEST_SEED = (1 << 64) - 1


class Candidates(NamedTuple):
    """The tokens that can be drawn.

    Parameters
    ----------
    ids : ndarray of int
        From the smallest up.
    probabilities : ndarray of float64
        Of each; their sum is 1.
    """

    ids: np.ndarray
    probabilities: np.ndarray


class TokenLogprob(NamedTuple):
    """How likely a token was.

    Parameters
    ----------
    token : int
        Its id.
    logprob : float
        Natural logarithm of the probability that the network itself gives it: before any filter,
        over the padded vocabulary.
    top : tuple of (int, float)
        The likeliest tokens at this place and the same of them, best first.
    """

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampling:
    """How the next token is chosen.

    Parameters
    ----------
    temperature, top_k, top_p, min_p, repetition_penalty, repetition_window, logit_bias
        As for :meth:`vimnp.MambaLM.generate`.

    Raises
    ------
    ConfigError
        If a value means nothing.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    repetition_window: int | None = None
    logit_bias: Mapping[int, float] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        self._check_number("temperature", "a number from 0 up", lambda value: value >= 0)
        self._check_number("top_p", "a number above 0 and up to 1", lambda value: 0 < value <= 1)
        self._check_number("min_p", "a number from 0 to 1", lambda value: 0 <= value <= 1)
        self._check_number("repetition_penalty", "a number above 0", lambda value: value > 0)
        self._set("top_k", checked_count("top_k", self.top_k, least=0))
        if self.repetition_window is not None:
            window = checked_count("repetition_window", self.repetition_window)
            self._set("repetition_window", window)
        self._set("logit_bias", _checked_bias(self.logit_bias))

    def _check_number(self, name: str, expected: str, allows: Any) -> None:
        value = getattr(self, name)
        if not _is_number(value) or not _is_finite(value) or not allows(value):
            raise ConfigError(f"{name} is {value!r}; expected {expected}")
        self._set(name, float(value))

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def check_vocabulary(self, vocab_size: int) -> None:
        """Raise ConfigError if these settings name an id that there is not, or leave none."""
        for token in self.logit_bias:
            if token >= vocab_size:
                raise ConfigError(
                    f"logit_bias names the id {token}; expected ids from 0 to {vocab_size - 1}"
                )
        banned = sum(bias == -math.inf for bias in self.logit_bias.values())
        if banned >= vocab_size:
            raise ConfigError(f"logit_bias bans all {vocab_size} ids; expected one that is left")

    def candidates(self, logits: np.ndarray, previous: Sequence[int] = ()) -> Candidates:
        """What can be drawn, and how likely.

        Parameters
        ----------
        logits : ndarray of float32, shape (ids,)
            Of the ids that may be drawn.
        previous : sequence of int
            The ids before, the newest last, for the repetition penalty.

        Raises
        ------
        WeightsError
            If a logit is NaN or infinite.
        """
        scores = self._scores(logits, previous)
        if not self.temperature:
            return Candidates(np.array([np.argmax(scores)]), np.ones(1))
        ids = np.flatnonzero(scores >= self._least_score(scores))
        with np.errstate(over="ignore"):  # far below the best at a small temperature: never drawn
            scores = (scores[ids] - scores[ids].max()) / self.temperature
        probabilities = _normalised(np.exp(scores))
        if self.top_p < 1.0:
            kept = self._in_top_p(probabilities)
            ids, probabilities = ids[kept], _normalised(probabilities[kept])
        if self.min_p > 0.0:
            kept = probabilities >= self.min_p * probabilities.max()
            ids, probabilities = ids[kept], _normalised(probabilities[kept])
        return Candidates(ids, probabilities)

    def draw(
        self, logits: np.ndarray, previous: Sequence[int], generator: np.random.Generator
    ) -> int:
        """The next token.

        Parameters
        ----------
        logits, previous
            As for :meth:`candidates`.
        generator : numpy.random.Generator
            Gives one number for each token, unless the temperature is 0.

        Raises
        ------
        WeightsError
            If a logit is NaN or infinite.
        """
        ids, probabilities = self.candidates(logits, previous)
        if len(ids) == 1 and not self.temperature:
            return int(ids[0])
        sums = np.cumsum(probabilities)
        drawn = np.searchsorted(sums, generator.random() * sums[-1], side="right")
        return int(ids[min(drawn, len(ids) - 1)])  # a product may be rounded up to the whole sum

    def _scores(self, logits: np.ndarray, previous: Sequence[int]) -> np.ndarray:
        """The logits after bias and penalty, in float64."""
        check_finite(logits)
        scores = logits.astype(np.float64)
        for token, bias in self.logit_bias.items():
            scores[token] += bias
        if self.repetition_penalty != 1.0:
            seen = previous[-self.repetition_window :] if self.repetition_window else previous
            ids = np.unique(np.asarray(seen, np.intp))
            ids = ids[ids < len(scores)]  # a prompt may have some that are never drawn
            before = scores[ids]
            penalty = self.repetition_penalty
            scores[ids] = np.where(before < 0, before * penalty, before / penalty)
        return scores

    def _least_score(self, scores: np.ndarray) -> float:
        """The score of the last token that top-k leaves, or of any that is not banned."""
        if 0 < self.top_k < len(scores):
            place = len(scores) - self.top_k
            return max(float(np.partition(scores, place)[place]), -_LARGEST)
        return -_LARGEST

    def _in_top_p(self, probabilities: np.ndarray) -> np.ndarray:
        """Which tokens top-p leaves, as a mask."""
        left_out = 1.0 - self.top_p
        # Tokens below this are together too few to be left in, and need not be sorted.
        small = probabilities < left_out / len(probabilities)
        others = np.flatnonzero(~small)
        order = others[np.argsort(probabilities[others], kind="stable")]
        sums = np.cumsum(probabilities[order]) + probabilities[small].sum()
        kept = np.zeros(len(probabilities), bool)
        kept[order[:-1][sums[:-1] > left_out]] = True
        kept[order[-1]] = True
        return kept


_LARGEST = float(np.finfo(np.float64).max)


def make_generator(seed: int, sample: int) -> np.random.Generator:
    """The random numbers of one of the samples of a prompt.

    Neither the other samples nor the prompts beside it decide on them.

    Parameters
    ----------
    seed : int
        From 0 to ``2**64 - 1``.
    sample : int
        Which one, from 0 up.
    """
    return np.random.Generator(np.random.PCG64([seed, sample]))


def checked_seed(seed: object) -> int:
    """A seed as it was given, or one that nobody knows before if it is None.

    Raises
    ------
    ConfigError
        If it is no whole number of 64 bits.
    """
    if seed is None:
        return int.from_bytes(os.urandom(4), "little")
    return checked_count("seed", seed, _LARGEST_SEED, least=0)


def log_probabilities(logits: np.ndarray) -> np.ndarray:
    """The natural logarithm of the softmax over the last axis, in float64.

    Parameters
    ----------
    logits : ndarray of float32, shape (..., ids)

    Returns
    -------
    ndarray of float64, shape (..., ids)

    Raises
    ------
    WeightsError
        If a logit is NaN or infinite.
    """
    check_finite(logits)
    shifted = logits - logits.max(axis=-1, keepdims=True).astype(np.float64)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def token_logprob(logits: np.ndarray, token: int, top: int, vocab_size: int) -> TokenLogprob:
    """How likely a token was, and which ones were likeliest.

    Parameters
    ----------
    logits : ndarray of float32, shape (padded_vocab_size,)
    token : int
    top : int
        How many of the likeliest are told.
    vocab_size : int
        Only ids below it are among these.

    Raises
    ------
    WeightsError
        If a logit is NaN or infinite.
    """
    logprobs = log_probabilities(logits)
    best = np.argsort(-logprobs[:vocab_size], kind="stable")[:top] if top else ()
    pairs = tuple((int(i), float(logprobs[i])) for i in best)
    return TokenLogprob(token, float(logprobs[token]), pairs)


def check_finite(logits: np.ndarray) -> None:
    """Raise WeightsError if a logit is NaN or infinite: no order of tokens would mean anything."""
    if not np.isfinite(logits).all():
        wrong = np.count_nonzero(~np.isfinite(logits))
        raise WeightsError(
            f"{wrong} of the network's {logits.size} logits are not finite; expected numbers: look "
            "for what is too large in the weights"
        )


def _normalised(weights: np.ndarray) -> np.ndarray:
    return weights / weights.sum()


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_finite(value: Any) -> bool:
    """Whether it is finite as a float, which not every whole number can become."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _checked_bias(bias: object) -> Mapping[int, float]:
    if not isinstance(bias, Mapping):
        raise ConfigError(f"logit_bias is {bias!r}; expected a mapping from ids to numbers")
    checked = {}
    for token, value in bias.items():
        token = checked_count("an id of logit_bias", token, least=0)
        if not _is_number(value) or not (_is_finite(value) or value == -math.inf):
            raise ConfigError(
                f"logit_bias has {value!r} for the id {token}; expected a number, or minus "
                "infinity, which bans the id"
            )
        checked[token] = float(value)
    return checked
