"""What a language model asks of its tokenizer, whatever kind it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from vimnp.errors import TextError


class TextStream(Protocol):
    """Ids one after another -> text, piece by piece.

    The pieces put together are ``decode`` of all ids, and none of them ends in half a character.
    """

    def push(self, token: int) -> str:
        """The text that is certain once this id is there; often none."""

    def finish(self) -> str:
        """What was held back, where no more ids come: half characters as U+FFFD."""


class TextCodec(Protocol):
    """Text -> ids -> text."""

    @property
    def vocab_size(self) -> int:
        """How many ids it knows."""

    def knows(self, token: int) -> bool:
        """Whether there is text for this id."""

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """The ids of a text."""

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids."""

    def stream(self) -> TextStream:
        """A decoder for ids that come one after another."""


def expect_unicode(text: str) -> None:
    """Refuse what no text has: Python's strings can hold half a UTF-16 character.

    Raises
    ------
    TextError
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise TextError(
            f"the text has {text[error.start]!a} at character {error.start}, which is half a "
            "character; expected Unicode text"
        ) from None


def expect_known(ids: Sequence[int], vocab_size: int) -> None:
    """Refuse ids that a tokenizer cannot have given.

    Raises
    ------
    TextError
    """
    for position, token in enumerate(ids):
        if not 0 <= token < vocab_size:
            raise TextError(
                f"id {token} at position {position} is not in the tokenizer's vocabulary; expected "
                f"ids from 0 to {vocab_size - 1}"
            )


def expect_fitting(tokenizer: TextCodec, vocab_size: int) -> None:
    """Refuse a tokenizer that has more ids than a network knows.

    Parameters
    ----------
    tokenizer : TextCodec
    vocab_size : int
        The network's.

    Raises
    ------
    TextError
    """
    if tokenizer.vocab_size > vocab_size:
        raise TextError(
            f"the tokenizer has {tokenizer.vocab_size} ids, and the network knows {vocab_size}; "
            "expected no more: convert the checkpoint with the tokenizer.json that belongs to it"
        )
