"""``GET /openapi.json``: what can be asked for, as OpenAPI 3.1 describes it."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from vimnp.serve.completions import DEFAULT_TOKENS
from vimnp.version import __version__

_STRING = {"type": "string"}
_NUMBER = {"type": "number"}
_INTEGER = {"type": "integer"}
_BOOLEAN = {"type": "boolean"}
_JSON = "application/json"


async def openapi(request: Request) -> Response:
    """The description."""
    return JSONResponse(describe())


def describe() -> dict[str, Any]:
    """The description, as JSON has it."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "vimnp",
            "version": __version__,
            "description": "Vision Mamba, VMamba and Mamba language models on a CPU.",
        },
        "security": [{}, {"key": []}],
        "paths": {
            "/models/{name}": {"post": _classify()},
            "/explain/{name}": {"post": _explain()},
            "/v1/vision/custom/{name}": {"post": _deepstack()},
            "/v1/models": {"get": _get("What is served: OpenAI's list", _list_of(_MODEL))},
            "/v1/models/{name}": {"get": _get("One of them", _MODEL) | _named()},
            "/v1/embeddings": {"post": _embed()},
            "/v1/completions": {"post": _complete()},
            "/v1/chat/completions": {"post": _chat()},
            "/health": {"get": _get("What is served, and by which version", _STATUS)},
            "/livez": {"get": _get("The process answers", _STATUS)},
            "/readyz": {"get": _get("Requests can come; 503 otherwise", _STATUS)},
            "/metrics": {"get": _get("Counts for Prometheus", _STRING, kind="text/plain")},
            "/openapi.json": {"get": _get("This", {"type": "object"})},
            "/": {"get": _get("The page", _STRING, kind="text/html")},
            "/{file}": {
                "get": _get("What belongs to the page", _STRING, kind="*/*") | _named("file")
            },
        },
        "components": {"securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
    }


def _object(required: tuple[str, ...] = (), /, **properties: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "object", "properties": properties}
    return found | ({"required": [*required]} if required else {})


def _array(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _list_of(items: Any) -> dict[str, Any]:
    return _object(object=_STRING, data=_array(items))


_STATUS = _object(status=_STRING)
_MODEL = _object(
    id=_STRING,
    object=_STRING,
    owned_by=_STRING,
    task={"enum": ["image-classification", "text-generation"]},
    classes=_INTEGER,
    img_size=_array(_INTEGER),
    explains=_BOOLEAN,
)
_USAGE = _object(prompt_tokens=_INTEGER, completion_tokens=_INTEGER, total_tokens=_INTEGER)


def _named(name: str = "name") -> dict[str, Any]:
    path = {"name": name, "in": "path", "required": True, "schema": _STRING}
    return {"parameters": [path]}


def _query(name: str, schema: Any, description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema, "description": description}


def _answer(description: str, schema: Any, kind: str = _JSON) -> dict[str, Any]:
    return {"description": description, "content": {kind: {"schema": schema}}}


def _get(summary: str, schema: Any, kind: str = _JSON) -> dict[str, Any]:
    return {"summary": summary, "responses": {"200": _answer(summary, schema, kind)}}


def _post(
    summary: str, content: dict[str, Any], schema: Any, *, stream: bool = False
) -> dict[str, Any]:
    """Every POST can fail in these ways."""
    answer = _answer(summary, schema)
    if stream:
        answer["content"]["text/event-stream"] = {"schema": _STRING}
    failures = {
        "400": "The request, or the picture in it, cannot be used: the message says why",
        "401": "The key is missing or wrong",
        "403": "A page of another site asks",
        "404": "No model of this name is served",
        "408": "The body did not arrive in time",
        "413": "The body is too long",
        "421": "The name of another host",
        "503": "Too much is asked for at once: Retry-After says when to come back",
        "504": "There was no answer in time",
    }
    return {
        "summary": summary,
        "requestBody": {"required": True, "content": content},
        "responses": {
            "200": answer,
            **{status: {"description": words} for status, words in failures.items()},
        },
    }


def _picture(parameters: dict[str, Any]) -> dict[str, Any]:
    """The ways to send a picture."""
    inputs = {**_STRING, "contentEncoding": "base64"}
    form = _object(("image",), image={**_STRING, "contentMediaType": "image/*"})
    return {
        "image/*": {"schema": {}},
        "application/octet-stream": {"schema": {}},
        _JSON: {"schema": _object(("inputs",), inputs=inputs, parameters=_object(**parameters))},
        "multipart/form-data": {"schema": form},
    }


def _classify() -> dict[str, Any]:
    functions = {"enum": ["softmax", "sigmoid", "none"]}
    found = _post(
        "Hugging Face's image classification",
        _picture({"top_k": _INTEGER, "function_to_apply": functions}),
        _array(_object(label=_STRING, score=_NUMBER)),
    )
    found |= _named()
    found["parameters"].append(_query("top_k", _INTEGER, "How many classes (5)"))
    return found


def _explain() -> dict[str, Any]:
    found = _post(
        "What each patch of a picture contributes to a class",
        _picture({"class": {"type": ["string", "integer"]}}),
        _object(
            **{"class": _INTEGER},
            label=_STRING,
            score=_NUMBER,
            rest=_NUMBER,
            rows=_INTEGER,
            columns=_INTEGER,
            contributions=_array(_array(_NUMBER)),
        ),
    )
    found |= _named()
    found["parameters"].append(_query("class", _STRING, "Its label or index (the likeliest)"))
    return found


def _deepstack() -> dict[str, Any]:
    box: dict[str, Any] = dict.fromkeys(("x_min", "y_min", "x_max", "y_max"), _INTEGER)
    prediction = _object(label=_STRING, confidence=_NUMBER, **box)
    answer = _object(success=_BOOLEAN, code=_INTEGER, predictions=_array(prediction))
    found = _post("DeepStack's and CodeProject.AI's custom models", _picture({}), answer)
    return found | _named()


def _embed() -> dict[str, Any]:
    picture = {**_STRING, "contentEncoding": "base64"}
    body = _object(
        ("model", "input"),
        model=_STRING,
        input={"oneOf": [picture, _array(picture)]},
        encoding_format={"enum": ["float", "base64"]},
    )
    row = _object(index=_INTEGER, embedding={"oneOf": [_array(_NUMBER), _STRING]})
    return _post(
        "Features of pictures, as OpenAI's embeddings", {_JSON: {"schema": body}}, _list_of(row)
    )


def _writing(required: str, **own: Any) -> dict[str, Any]:
    """What every text can be told."""
    body = _object(
        ("model", required),
        model=_STRING,
        **own,
        max_tokens=_INTEGER,
        n=_INTEGER,
        temperature=_NUMBER,
        top_p=_NUMBER,
        top_k=_INTEGER,
        min_p=_NUMBER,
        repetition_penalty=_NUMBER,
        logit_bias={"type": "object"},
        stop={"oneOf": [_STRING, _array(_STRING)]},
        seed=_INTEGER,
        ignore_eos=_BOOLEAN,
        stream=_BOOLEAN,
        stream_options=_object(include_usage=_BOOLEAN),
    )
    return {_JSON: {"schema": body}}


def _complete() -> dict[str, Any]:
    prompt = {"oneOf": [_STRING, _array(_STRING), _array(_INTEGER), _array(_array(_INTEGER))]}
    content = _writing("prompt", prompt=prompt, echo=_BOOLEAN, logprobs=_INTEGER)
    choice = _object(index=_INTEGER, text=_STRING, finish_reason=_STRING)
    answer = _object(id=_STRING, choices=_array(choice), usage=_USAGE)
    summary = f"Go on from a text, by {DEFAULT_TOKENS} tokens if nothing is said: OpenAI's"
    return _post(summary, content, answer, stream=True)


def _chat() -> dict[str, Any]:
    message = _object(("role", "content"), role=_STRING, content=_STRING)
    content = _writing(
        "messages", messages=_array(message), logprobs=_BOOLEAN, top_logprobs=_INTEGER
    )
    choice = _object(index=_INTEGER, message=message, finish_reason=_STRING)
    answer = _object(id=_STRING, choices=_array(choice), usage=_USAGE)
    return _post("Answer in a chat: OpenAI's", content, answer, stream=True)
