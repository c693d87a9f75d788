"""A chat with a model, which reads each message once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tests.support.writers import Scripted, Writer
from vimnp.errors import ConfigError, TextError
from vimnp.models.conversation import Conversation
from vimnp.text.byte_tokenizer import Bytes
from vimnp.text.chat import Message, PlainChat


class Answering(Scripted):
    """Answers the next of its lines whenever the text ends in a mark."""

    def __init__(self, *answers: str, mark: str = "Assistant:", eos_ids: tuple[int, ...] = ()):
        super().__init__(b"", eos_ids=eos_ids)
        self._answers = [[*answer.encode()] for answer in answers]
        self._mark = mark
        self.read = 0

    def after_each(self, ids: np.ndarray, state: Any, row: int) -> np.ndarray:
        self.read += len(ids)
        text = bytes([*state.ids[row], *ids.tolist()]).decode(errors="replace")
        turn = text.count(self._mark)
        written = text.rpartition(self._mark)[2].encode()
        script = [*self._answers[turn - 1], 0] if turn else [0]
        logits = np.zeros((len(ids), 256), np.float32)
        logits[-1, script[min(len(written), len(script) - 1)]] = 1
        return logits


class Tagged:
    """A template whose special tokens are single characters."""

    stop: tuple[str, ...] = ()
    has_special_tokens = True

    def __init__(self, strips: bool = False) -> None:
        self._strips = strips

    def render(self, messages: Sequence[Message]) -> str:
        lines = [
            f"{m.role[0]}:{m.content.strip() if self._strips else m.content}\x00" for m in messages
        ]
        return "".join(lines) + "a:"


def said(conversation: Conversation, content: str) -> str:
    return "".join(conversation.reply(content))


def test_a_chat_goes_on_and_reads_each_message_once() -> None:
    model = Answering("hello", "fine", mark="a:", eos_ids=(0,))
    conversation = Conversation(model, Tagged(), system="be short")
    assert said(conversation, "hi") == "hello"
    read = len("s:be short\0u:hi\0a:hello\0")
    assert model.read == read
    assert said(conversation, "how?") == "fine"
    assert model.read == read + len("u:how?\0a:fine\0")
    assert conversation.messages == [
        Message("system", "be short"),
        Message("user", "hi"),
        Message("assistant", "hello"),
        Message("user", "how?"),
        Message("assistant", "fine"),
    ]
    assert conversation.last is not None
    assert bytes(conversation.last.state.ids[0]) == (b"s:be short\0u:hi\0a:hello\0u:how?\0a:fine\0")


def test_what_a_template_puts_in_another_way_is_read_again() -> None:
    model = Answering(" hello ", "fine", "yes", mark="a:", eos_ids=(0,))
    conversation = Conversation(model, Tagged(strips=True))
    assert [said(conversation, content) for content in ("a", "b", "c")] == [
        " hello ",
        "fine",
        "yes",
    ]
    assert conversation.last is not None
    assert bytes(conversation.last.state.ids[0]) == (b"u:a\0a:hello\0u:b\0a:fine\0u:c\0a:yes\0")
    others = len("u:a\0a: hello \0") + len("u:a\0a:hello\0u:b\0a:fine\0")
    assert model.read == others + len("u:c\0a:yes\0")


def test_without_a_template_the_next_line_of_the_user_ends_a_reply() -> None:
    model = Answering(" Hello.\nUser: me", " Fine.\nUser", eos_ids=())
    conversation = Conversation(model, PlainChat(), max_new_tokens=20, stop="#")
    assert said(conversation, "hi") == " Hello."
    assert said(conversation, "so?").startswith(" Fine.")
    assert conversation.last is not None
    assert bytes(conversation.last.state.ids[0]).startswith(
        b"User: hi\nAssistant: Hello.\nUser: so?\nAssistant: Fine."
    )


def test_a_reply_that_is_cut_short_is_gone_on_from() -> None:
    model = Answering("hello", "fine", mark="a:", eos_ids=(0,))
    conversation = Conversation(model, Tagged(), max_new_tokens=3)
    assert said(conversation, "hi") == "hel"
    assert said(conversation, "so?") == "fin"
    assert conversation.last is not None
    assert bytes(conversation.last.state.ids[0]) == b"u:hi\0a:hel\0u:so?\0a:fin"
    assert model.read == len("u:hi\0a:hel\0u:so?\0a:fin")


def test_what_was_interrupted_was_not_said() -> None:
    model = Answering("hello", mark="a:", eos_ids=(0,))
    conversation = Conversation(model, Tagged())
    reply = conversation.reply("hi")
    next(reply)
    reply.close()  # type: ignore[attr-defined]  # a generator
    assert (conversation.messages, conversation.last) == ([], None)
    assert said(conversation, "ho") == "hello"


def test_tokens_that_begin_a_text_come_once_and_not_beside_a_template_s() -> None:
    class Begun(Bytes):
        def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
            return [1] * add_special_tokens + super().encode(text)

    for template, expected in ((PlainChat(), 1), (Tagged(), 0)):
        model = Answering("a", "b", mark="ssistant:" if expected else "a:", eos_ids=(0,))
        model.tokenizer = Begun()
        conversation = Conversation(model, template)
        for content in ("hi", "ho"):
            said(conversation, content)
        assert conversation.last is not None
        assert conversation.last.state.ids[0].count(1) == expected


def test_a_chat_needs_text() -> None:
    with pytest.raises(TextError, match="no tokenizer"):
        Conversation(Writer(), PlainChat())
    with pytest.raises(ConfigError, match="stop has ''"):
        Conversation(Scripted(b""), PlainChat(), stop="")
