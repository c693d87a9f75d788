"""Messages of a chat -> the text that a language model goes on from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

from vimnp.errors import TextError, excerpt

Role: TypeAlias = Literal["system", "user", "assistant"]

_LONGEST_TEMPLATE = 1 << 16  # characters; published ones have at most a few thousand


class Message(NamedTuple):
    """What somebody has said.

    Parameters
    ----------
    role : {"system", "user", "assistant"}
    content : str
    """

    role: Role
    content: str


class PlainChat:
    """Messages as a script of two speakers, for a model that brings no template."""

    stop = ("\nUser:",)
    """What begins where the assistant has ended."""
    has_special_tokens = False
    """Whether it writes all of the tokens that a text of the model has, the first one, too."""

    def render(self, messages: Sequence[Message]) -> str:
        """The text, up to where the assistant is to go on."""
        return "".join(map(self._line, messages)) + "Assistant:"

    def _line(self, message: Message) -> str:
        if message.role == "system":
            return f"{message.content}\n\n"
        # What the assistant said begins with the space that it has written itself.
        between = " " if message.role == "user" else ""
        return f"{message.role.capitalize()}:{between}{message.content}\n"


class ChatTemplate:
    """Messages as a template of Jinja puts them, which came with the weights.

    Parameters
    ----------
    source : str
        Anybody may have written it: see :mod:`vimnp.text.sandbox`.
    bos_token, eos_token : str
        What the template may put around texts.

    Raises
    ------
    TextError
        If the package jinja2 is missing, or the template is far longer than any.
    """

    stop: tuple[str, ...] = ()
    """The model ends its message with an id of its own."""
    has_special_tokens = True
    """As for :class:`PlainChat`."""

    def __init__(self, source: str, *, bos_token: str = "", eos_token: str = "") -> None:
        if len(source) > _LONGEST_TEMPLATE:
            raise TextError(
                f"the chat template has {len(source)} characters; expected at most "
                f"{_LONGEST_TEMPLATE}"
            )
        try:
            import jinja2  # noqa: F401
        except ImportError:
            raise TextError(
                "the chat template of these weights needs the package jinja2: "
                "pip install 'vimnp[text]'"
            ) from None
        self._source = source
        self._tokens = {"bos_token": bos_token, "eos_token": eos_token}

    def render(self, messages: Sequence[Message]) -> str:
        """The text, up to where the assistant is to go on.

        Raises
        ------
        TextError
            If the template is none, refuses the messages, or does what no chat template has to do.
        """
        from vimnp.text.sandbox import render

        values = {
            "messages": [message._asdict() for message in messages],
            "add_generation_prompt": True,
            **self._tokens,
        }
        try:
            return render(self._source, values, sum(len(m.content) for m in messages))
        except Exception as error:  # of any kind, from what anybody may have written
            raise TextError(
                f"the chat template cannot be applied ({type(error).__name__}: {excerpt(error)}); "
                "expected one as published models have it"
            ) from None
