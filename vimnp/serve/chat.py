"""``POST /v1/chat/completions``: a language model answers, as OpenAI's API has it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from vimnp.serve.bodies import read_json
from vimnp.serve.errors import RequestError
from vimnp.serve.events import event_stream
from vimnp.serve.limits import Limits
from vimnp.serve.options import asked_of, count_of, flag_of
from vimnp.serve.served import Registry, ServedText
from vimnp.serve.writing import Texts, Told, token_text
from vimnp.text.chat import Message, PlainChat
from vimnp.text.stops import checked_stops

if TYPE_CHECKING:
    from vimnp.models.conversation import Template

OWN = ("messages", "logprobs", "top_logprobs")
DEFAULT_TOKENS = 512
_MOST_LOGPROBS = 20
_MOST_MESSAGES = 1000
_ROLES: dict[object, Any] = {
    "system": "system",
    "developer": "system",  # OpenAI's newer name
    "user": "user",
    "assistant": "assistant",
}


async def chat(request: Request) -> Response:
    """Answer at once, or as a stream."""
    from vimnp.models.conversation import chat_template  # no network of pictures needs it

    limits: Limits = request.app.state.limits
    registry: Registry = request.app.state.registry
    body = await read_json(request, limits.text_bytes)
    served = registry.text(body.get("model"))
    asked = asked_of(body, OWN, DEFAULT_TOKENS, limits)
    asked.options.update(_own_options(body))
    template = chat_template(served.model) or PlainChat()
    asked.options["stop"] = (*checked_stops(asked.options.get("stop")), *template.stop)
    prompt = await served.work(lambda: _prompt(served, template, _messages(body)))
    texts = await Texts.begin(served, [prompt], asked, limits)
    if asked.is_stream:
        return event_stream(_events(served, texts, asked.choices, asked.with_usage))
    choices = [
        {
            "index": index,
            "message": {"role": "assistant", "content": text.text, "refusal": None},
            "logprobs": _logprobs(served, text.logprobs),
            "finish_reason": text.finish_reason,
        }
        for index, text in enumerate(await texts.whole(request))
    ]
    head = _head(texts, "chat.completion")
    return JSONResponse({**head, "choices": choices, "usage": texts.usage()})


def _prompt(served: ServedText, template: Template, messages: Sequence[Message]) -> list[int]:
    """The ids of a chat, up to where the assistant is to go on."""
    tokenizer = served.model.tokenizer
    if tokenizer is None:
        raise RequestError(400, f"{served.name} brings no tokenizer; expected ids as a prompt")
    text = template.render(messages)
    return tokenizer.encode(text, add_special_tokens=not template.has_special_tokens)


def _own_options(body: Mapping[str, Any]) -> dict[str, Any]:
    top = body.get("top_logprobs")
    wants = body.get("logprobs") is not None and flag_of("logprobs", body["logprobs"])
    if top is not None and not wants:
        raise RequestError(400, 'top_logprobs is given; expected "logprobs": true beside it')
    if not wants:
        return {}
    return {"logprobs": count_of("top_logprobs", top or 0, _MOST_LOGPROBS, least=0)}


def _messages(body: Mapping[str, Any]) -> list[Message]:
    found = body.get("messages")
    if not isinstance(found, list) or not 0 < len(found) <= _MOST_MESSAGES:
        raise RequestError(
            400,
            f'expected "messages": a list of 1 to {_MOST_MESSAGES} objects '
            '{"role": "user", "content": "..."}',
        )
    return [_message(index, each) for index, each in enumerate(found)]


def _message(index: int, found: Any) -> Message:
    if not isinstance(found, dict) or found.get("role") not in (*_ROLES,):
        raise RequestError(400, f'messages[{index}] has no "role" of {", ".join(map(str, _ROLES))}')
    return Message(_ROLES[found["role"]], _content(index, found.get("content")))


def _content(index: int, found: Any) -> str:
    """A text, or the texts of its parts."""
    if isinstance(found, str):
        return found
    if isinstance(found, list) and all(
        isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)
        for part in found
    ):
        return "".join(part["text"] for part in found)
    raise RequestError(
        400, f"the content of messages[{index}] is no text; expected nothing else: no pictures"
    )


async def _events(
    served: ServedText, texts: Texts, choices: int, with_usage: bool
) -> AsyncIterator[dict[str, Any]]:
    head = _head(texts, "chat.completion.chunk")
    for index in range(choices):
        yield {**head, "choices": [_delta(index, {"role": "assistant", "content": ""})]}
    async for piece in texts.pieces():
        delta = {"content": piece.text} if piece.text else {}
        logprobs = _logprobs(served, piece.logprobs)
        yield {**head, "choices": [_delta(piece.choice, delta, logprobs, piece.finish_reason)]}
    if with_usage:
        yield {**head, "choices": [], "usage": texts.usage()}


def _delta(
    index: int, delta: dict[str, str], logprobs: Any = None, reason: str | None = None
) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": reason}


def _head(texts: Texts, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{texts.id}",
        "object": kind,
        "created": texts.created,
        "model": texts.model,
    }


def _logprobs(served: ServedText, found: Sequence[Told]) -> dict[str, list[dict[str, Any]]] | None:
    if not found:
        return None
    content = [
        {
            **_token(served, each.token, each.logprob),
            "top_logprobs": [_token(served, token, value) for token, value in each.top],
        }
        for _, each in found
        if each is not None
    ]
    return {"content": content}


def _token(served: ServedText, token: int, logprob: float) -> dict[str, Any]:
    text = token_text(served, token)
    return {"token": text, "logprob": logprob, "bytes": [*text.encode()]}
