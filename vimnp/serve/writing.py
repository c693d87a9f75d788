"""Texts that are written for a request: side by side, piece by piece, until it has gone."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from vimnp.serve.errors import RequestError
from vimnp.serve.limits import Limits
from vimnp.serve.options import Asked
from vimnp.serve.served import ServedText

if TYPE_CHECKING:
    from starlette.requests import Request

    from vimnp.models.generation import GenerationStream
    from vimnp.models.sampling import TokenLogprob

Told: TypeAlias = "tuple[int, TokenLogprob | None]"
"""A token and how likely it was; the first one of a prompt that is echoed has no such number."""

_PART = "\ufffd"  # what stands for half a character
_LARGEST_SEED = (1 << 64) - 1


class Piece(NamedTuple):
    """What is certain of a text, and was not told yet.

    Parameters
    ----------
    choice : int
        Which of the texts.
    text : str
    logprobs : sequence of (int, TokenLogprob or None)
        Ids and log-probabilities of the tokens that were drawn meanwhile, where they are asked for.
    finish_reason : str or None
        Where this is the last.
    """

    choice: int
    text: str
    logprobs: Sequence[Told]
    finish_reason: str | None


class Texts:
    """The texts of one request.

    Parameters
    ----------
    served : ServedText
    writings : sequence of GenerationStream
    choices : int
        How many of them are for each prompt.
    deadline : float
        By :func:`time.monotonic`: texts end then as they do at the number of tokens.
    """

    def __init__(
        self,
        served: ServedText,
        writings: Sequence[GenerationStream],
        choices: int,
        deadline: float,
    ) -> None:
        self._served, self._writings = served, writings
        self._choices, self._deadline = choices, deadline
        self.id = secrets.token_hex(12)
        self.created = int(time.time())
        self.model = served.name

    @classmethod
    async def begin(
        cls, served: ServedText, prompts: Sequence[Any], asked: Asked, limits: Limits
    ) -> Texts:
        """The texts for some prompts, of which nothing is computed yet.

        Raises
        ------
        RequestError, ConfigError, TextError
            As for :meth:`ServedText.begin`, or if there are too many.
        """
        if len(prompts) * asked.choices > limits.choices:
            raise RequestError(
                400,
                f"{len(prompts)} prompts and n = {asked.choices} make more texts than are written "
                f"for a request; expected at most {limits.choices}",
            )
        seed = asked.options.get("seed")
        writings = []
        for prompt in prompts:
            for choice in range(asked.choices):
                options = dict(asked.options)
                if isinstance(seed, int):
                    options["seed"] = (seed + choice) & _LARGEST_SEED if choice else seed
                writings.append(await served.begin(prompt, options, limits.prompt_tokens))
        return cls(served, writings, asked.choices, time.monotonic() + 0.9 * limits.seconds)

    async def pieces(self) -> AsyncIterator[Piece]:
        """What is certain, of one text after the other, a token each; the last of each ends it.

        Raises
        ------
        WeightsError, TextError
            What the network raises.
        """
        told = [0] * len(self._writings)
        running = dict(enumerate(self._writings))
        while running:
            is_late = time.monotonic() > self._deadline
            if not is_late:
                await asyncio.gather(*map(self._served.advance, running.values()))
            for index, writing in [*running.items()]:
                reason = "length" if is_late else writing.finish_reason
                text = "".join(writing.pieces())
                logprobs = writing.logprobs_from(told[index])
                told[index] += len(logprobs)
                if reason is not None:
                    del running[index]
                if text or logprobs or reason is not None:
                    yield Piece(index, text, logprobs, reason)

    async def whole(self, request: Request) -> list[Whole]:
        """All of the texts; nothing more is written once the client has gone."""
        found = [Whole("", [], None) for _ in self._writings]
        async for piece in self.pieces():
            before = found[piece.choice]
            found[piece.choice] = Whole(
                before.text + piece.text, [*before.logprobs, *piece.logprobs], piece.finish_reason
            )
            if await request.is_disconnected():
                break
        return found

    def usage(self) -> dict[str, int]:
        """The tokens that were read and written."""
        read = sum(len(writing.prompt_ids) for writing in self._writings[:: self._choices])
        written = sum(writing.num_written for writing in self._writings)
        return {
            "prompt_tokens": read,
            "completion_tokens": written,
            "total_tokens": read + written,
        }


class Whole(NamedTuple):
    """A text, as far as it came."""

    text: str
    logprobs: list[Told]
    finish_reason: str | None


def token_text(served: ServedText, token: int) -> str:
    """What a token is by itself: a name with its id where that is no whole character."""
    tokenizer = served.model.tokenizer
    text = _PART if tokenizer is None else tokenizer.decode([token])
    return f"token_id:{token}" if _PART in text else text
