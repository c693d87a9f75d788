"""A chat with a language model, which reads each message once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from vimnp.errors import TextError
from vimnp.models.generation import Generation, Writer, stream
from vimnp.text.chat import ChatTemplate, Message
from vimnp.text.stops import checked_stops

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vimnp.engine.state import State
    from vimnp.models.language import LanguageModel


class Template(Protocol):
    """Puts messages into the text that a model goes on from."""

    @property
    def stop(self) -> tuple[str, ...]: ...

    @property
    def has_special_tokens(self) -> bool: ...

    def render(self, messages: Sequence[Message]) -> str: ...


def chat_template(model: LanguageModel) -> Template | None:
    """The template that came with the weights, if any did.

    Raises
    ------
    TextError
        If the package jinja2 is missing.
    """
    source = model.metadata.chat_template
    if source is None:
        return None
    tokenizer, ends = model.tokenizer, model.config.eos_ids
    eos_token = tokenizer.decode(ends[:1]) if tokenizer is not None else ""
    return ChatTemplate(source, eos_token=eos_token)


class _Read(NamedTuple):
    """A text, and what the network knows after it."""

    text: str
    state: State | None


_NOTHING = _Read("", None)


class Conversation:
    """Messages by turns, and what the network knows of them.

    Parameters
    ----------
    model : Writer
        With a tokenizer.
    template : Template
    system : str, optional
        What the model is told before all else.
    **options
        As for :func:`vimnp.models.generation.stream`.

    Attributes
    ----------
    messages : list of Message
        All that was said.
    last : Generation or None
        The last reply.

    Raises
    ------
    TextError
        If the model has no tokenizer.
    ConfigError
        If `stop` is no stop string.
    """

    def __init__(
        self, model: Writer, template: Template, *, system: str | None = None, **options: Any
    ) -> None:
        if model.tokenizer is None:
            raise TextError("these weights bring no tokenizer, so that nobody can chat with them")
        self._model, self._tokenizer, self._template = model, model.tokenizer, template
        stops = checked_stops(options.pop("stop", None))
        self._options = options | {"stop": (*stops, *template.stop)}
        self.messages = [] if system is None else [Message("system", system)]
        self.last: Generation | None = None
        self._read = [_NOTHING]  # the longest text first

    def reply(self, content: str) -> Iterator[str]:
        """Say something; gives the pieces of what the model says to it.

        What was interrupted was not said: neither this nor the reply is among the messages then.

        Parameters
        ----------
        content : str

        Raises
        ------
        ConfigError, TextError
            As for :func:`vimnp.models.generation.stream`, or if the template refuses the messages.
        """
        messages = [*self.messages, Message("user", content)]
        text = self._template.render(messages)
        # A template may put what the model has said in another way than the model: then all that
        # was read since the turn before is read again.
        before = next(read for read in self._read if text.startswith(read.text))
        ids = self._tokenizer.encode(
            text[len(before.text) :],
            add_special_tokens=before.state is None and not self._template.has_special_tokens,
        )
        writing = stream(self._model, ids, state=before.state, **self._options)
        yield from writing
        written = writing.result
        self._read = [_Read(text + self._as_written(written), written.state), before, _NOTHING]
        self.messages = [*messages, Message("assistant", written.text or "")]
        self.last = written

    def _as_written(self, written: Generation) -> str:
        """The text of all that was drawn, and not only of what counts."""
        if isinstance(written.stop, str):
            return self._tokenizer.decode(written.ids)
        end = "" if written.stop is None else self._tokenizer.decode([written.stop])
        return f"{written.text}{end}"
