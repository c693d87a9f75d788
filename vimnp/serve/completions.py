"""``POST /v1/completions``: a language model goes on from a text, as OpenAI's API has it."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from vimnp.serve.bodies import read_json
from vimnp.serve.errors import RequestError
from vimnp.serve.events import event_stream
from vimnp.serve.limits import Limits
from vimnp.serve.options import asked_of, count_of, flag_of
from vimnp.serve.served import Registry, ServedText
from vimnp.serve.writing import Texts, Told, token_text

OWN = ("prompt", "echo", "logprobs")
DEFAULT_TOKENS = 16  # OpenAI's
_MOST_LOGPROBS = 20


async def complete(request: Request) -> Response:
    """Answer at once, or as a stream."""
    limits: Limits = request.app.state.limits
    registry: Registry = request.app.state.registry
    body = await read_json(request, limits.text_bytes)
    served = registry.text(body.get("model"))
    asked = asked_of(body, OWN, DEFAULT_TOKENS, limits)
    asked.options.update(_own_options(body))
    texts = await Texts.begin(served, _prompts(body.get("prompt")), asked, limits)
    if asked.is_stream:
        return event_stream(_events(served, texts, asked.with_usage))
    choices = [
        _choice(served, index, text.text, text.logprobs, text.finish_reason, 0)
        for index, text in enumerate(await texts.whole(request))
    ]
    return JSONResponse({**_head(texts), "choices": choices, "usage": texts.usage()})


def _own_options(body: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if body.get("echo") is not None:
        found["echo"] = flag_of("echo", body["echo"])
    if body.get("logprobs") is not None:
        found["logprobs"] = count_of("logprobs", body["logprobs"], _MOST_LOGPROBS, least=0)
    return found


def _prompts(prompt: Any) -> list[Any]:
    """One text or several, or the ids of one or several."""
    if isinstance(prompt, str):
        return [prompt]
    if isinstance(prompt, list) and prompt:
        if all(_is_id(each) for each in prompt):
            return [prompt]
        if all(isinstance(each, str) for each in prompt):
            return prompt
        if all(isinstance(each, list) and all(map(_is_id, each)) for each in prompt):
            return prompt
    raise RequestError(400, 'expected "prompt": a text, ids, or a list of one of these')


def _is_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


async def _events(
    served: ServedText, texts: Texts, with_usage: bool
) -> AsyncIterator[dict[str, Any]]:
    lengths: dict[int, int] = {}
    async for piece in texts.pieces():
        offset = lengths.get(piece.choice, 0)
        lengths[piece.choice] = offset + len(piece.text)
        reason = piece.finish_reason
        choice = _choice(served, piece.choice, piece.text, piece.logprobs, reason, offset)
        yield {**_head(texts), "choices": [choice]}
    if with_usage:
        yield {**_head(texts), "choices": [], "usage": texts.usage()}


def _head(texts: Texts) -> dict[str, Any]:
    return {
        "id": f"cmpl-{texts.id}",
        "object": "text_completion",
        "created": texts.created,
        "model": texts.model,
    }


def _choice(
    served: ServedText,
    index: int,
    text: str,
    logprobs: Sequence[Told],
    reason: str | None,
    offset: int,
) -> dict[str, Any]:
    return {
        "index": index,
        "text": text,
        "logprobs": _logprobs(served, logprobs, offset) if logprobs else None,
        "finish_reason": reason,
    }


def _logprobs(served: ServedText, found: Sequence[Told], offset: int) -> dict[str, Any]:
    tokens = [token_text(served, token) for token, _ in found]
    starts = itertools.accumulate(map(len, tokens[:-1]), initial=offset)
    return {
        "tokens": tokens,
        "token_logprobs": [each and each.logprob for _, each in found],
        "top_logprobs": [
            each and {token_text(served, token): value for token, value in each.top}
            for _, each in found
        ],
        "text_offset": [*starts],
    }
