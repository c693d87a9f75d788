"""Bytes as tokens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vimnp.errors import TextError
from vimnp.text.byte_tokenizer import Bytes


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_a_text_comes_back(text: str) -> None:
    ids = Bytes().encode(text)
    assert ids == list(text.encode())
    assert Bytes().decode(ids) == text


@given(st.binary())
def test_pieces_put_together_are_the_whole(content: bytes) -> None:
    stream = Bytes().stream()
    pieces = [stream.push(token) for token in content] + [stream.finish()]
    assert "".join(pieces) == Bytes().decode(list(content)) == content.decode(errors="replace")


def test_half_a_character_is_held_back() -> None:
    stream = Bytes().stream()
    assert [stream.push(token) for token in "aé🙂".encode()] == ["a", "", "é", "", "", "", "🙂"]
    assert stream.finish() == ""
    assert stream.push(0xF0) == ""
    assert stream.finish() == "\ufffd"


def test_what_is_no_byte_and_what_is_no_text_are_refused() -> None:
    assert Bytes().vocab_size == 256
    assert [Bytes().knows(token) for token in (-1, 0, 255, 256)] == [False, True, True, False]
    with pytest.raises(TextError, match=r"id 256 at position 1 is not in .* from 0 to 255"):
        Bytes().decode([1, 256])
    with pytest.raises(TextError, match="id -1"):
        Bytes().stream().push(-1)
    with pytest.raises(TextError, match=r"'\\ud83d' at character 2, which is half a character"):
        Bytes().encode("ab\ud83d")
