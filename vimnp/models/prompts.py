"""What a language model is to go on from: texts or ids, one or several, in one form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from vimnp.errors import StateError, TextError
from vimnp.text.protocol import TextCodec

if TYPE_CHECKING:
    from vimnp.engine.state import State

    Ids: TypeAlias = Sequence[int] | np.ndarray
    Prompt: TypeAlias = str | Ids
    Prompts: TypeAlias = Prompt | Sequence[Prompt]


class CheckedPrompt(NamedTuple):
    """A prompt whose ids the network knows.

    Parameters
    ----------
    text : str or None
        As it was given; None if ids were.
    ids : list of int
        One at least.
    state : State or None
        Of one sequence, what it goes on from. It is the caller's, and must stay as it is.
    """

    text: str | None
    ids: list[int]
    state: State | None


class Vocabulary(NamedTuple):
    """What ids there are, and what they say.

    Parameters
    ----------
    size : int
        Ids of the network: from 0 to below it.
    tokenizer : TextCodec or None
    """

    size: int
    tokenizer: TextCodec | None

    @property
    def drawable(self) -> int:
        """Only ids below this may be drawn: the last ones may be known to no tokenizer."""
        size = self.size
        if self.tokenizer is not None:
            while size > 1 and not self.tokenizer.knows(size - 1):
                size -= 1
        return size

    def encode(self, text: str, *, is_beginning: bool) -> list[int]:
        """The ids of a text; tokens that begin every text only where it is the beginning.

        Raises
        ------
        TextError
            If there is no tokenizer, or it has no ids for this.
        """
        if self.tokenizer is None:
            raise TextError(
                "the prompt is text, and these weights bring no tokenizer; expected ids"
            )
        return self.tokenizer.encode(text, add_special_tokens=is_beginning)


def is_one(prompts: Any) -> bool:
    """Whether it is a single prompt: text, or ids."""
    if isinstance(prompts, str | bytes):
        return True
    if isinstance(prompts, np.ndarray):
        return prompts.ndim <= 1
    if not isinstance(prompts, Sequence):
        return True  # which is refused as such
    return not any(isinstance(each, str | bytes | Sequence | np.ndarray) for each in prompts)


def checked_prompts(
    prompts: Prompts, vocabulary: Vocabulary, state: State | None = None
) -> list[CheckedPrompt]:
    """Every prompt as ids that exist.

    Parameters
    ----------
    prompts : str, sequence of int, or a sequence of such
    vocabulary : Vocabulary
    state : State, optional
        Of one sequence, from which each prompt goes on, or of one for each.

    Raises
    ------
    TextError
        If a prompt is empty, or neither text nor ids, or an id is out of range. Of several,
        ``prompts[3]`` is the fourth.
    StateError
        If the state is of several sequences, and not of one for each prompt.
    """
    named: list[tuple[str, Any]]
    if is_one(prompts):
        named = [("the prompt", prompts)]
    else:
        named = [(f"prompts[{index}]", each) for index, each in enumerate(prompts)]
    states = _states(state, len(named))
    return [
        _checked(name, each, vocabulary, before)
        for (name, each), before in zip(named, states, strict=True)
    ]


def _states(state: State | None, prompts: int) -> list[State | None]:
    if state is None or state.batch == 1:
        return [state] * prompts
    if state.batch != prompts:
        raise StateError(
            f"the state is of {state.batch} sequences, and there are {prompts} prompts; expected "
            "one sequence, from which each prompt goes on, or one for each prompt"
        )
    return [state[row] for row in range(prompts)]


def _checked(name: str, prompt: Any, vocabulary: Vocabulary, state: State | None) -> CheckedPrompt:
    text = None
    if isinstance(prompt, str):
        text = prompt
        is_beginning = state is None or not state.ids[0]
        prompt = vocabulary.encode(text, is_beginning=is_beginning)
    ids = _as_ids(name, prompt)
    if not len(ids):
        raise TextError(f"{name} is empty; expected one token or more to go on from")
    wrong = np.flatnonzero((ids < 0) | (ids >= vocabulary.size))
    if wrong.size:
        raise TextError(
            f"{name} has the id {ids[wrong[0]]} at position {wrong[0]}; expected ids from 0 to "
            f"{vocabulary.size - 1}"
        )
    return CheckedPrompt(text, ids.tolist(), state)


def _as_ids(name: str, prompt: Any) -> np.ndarray:
    """The ids as an array of whole numbers."""
    ids = None
    if isinstance(prompt, Sequence | np.ndarray) and not isinstance(prompt, str | bytes):
        try:
            ids = np.asarray(prompt)
        except (ValueError, TypeError):  # rows of different lengths
            ids = None
    if ids is not None and ids.ndim == 1 and not len(ids):
        return np.empty(0, np.int64)
    if ids is None or ids.ndim != 1 or ids.dtype.kind not in "iu":
        raise TextError(f"{name} is {_shown(prompt)}; expected text, or whole numbers as ids")
    return ids


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
