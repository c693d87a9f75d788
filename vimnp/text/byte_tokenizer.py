"""Bytes as tokens: every text has ids, and nothing is needed to know them."""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from vimnp.text.protocol import expect_known, expect_unicode

VOCAB_SIZE = 256


class Bytes:
    """The tokenizer whose ids are the bytes of UTF-8.

    Ids that are no UTF-8 decode to U+FFFD, as ``bytes.decode`` has it with "replace".
    """

    vocab_size = VOCAB_SIZE

    def knows(self, token: int) -> bool:
        """Whether the id is a byte."""
        return 0 <= token < VOCAB_SIZE

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """The bytes of a text.

        Parameters
        ----------
        text : str
        add_special_tokens : bool
            There are none to add.

        Raises
        ------
        TextError
            If the text holds half a character.
        """
        expect_unicode(text)
        return list(text.encode())

    def decode(self, ids: Sequence[int]) -> str:
        """The text of bytes.

        Raises
        ------
        TextError
            If an id is no byte.
        """
        expect_known(ids, VOCAB_SIZE)
        return bytes(ids).decode(errors="replace")

    def stream(self) -> ByteStream:
        """A decoder for bytes that come one after another."""
        return ByteStream()


class ByteStream:
    """Bytes one after another -> text, in whole characters."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: int) -> str:
        """The text that is certain once this byte is there."""
        expect_known([token], VOCAB_SIZE)
        return self._decoder.decode(bytes([token]))

    def finish(self) -> str:
        """U+FFFD for the bytes of a character that never became whole."""
        return self._decoder.decode(b"", final=True)
