"""Whatever JSON comes, it is answered or refused: nothing goes wrong within the server."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("starlette", reason="needs the extra serve: starlette")
pytest.importorskip("uvicorn", reason="needs the extra serve: uvicorn")
pytest.importorskip("python_multipart", reason="needs the extra serve: python-multipart")

import vimnp
from tests.support.micro_language import MICRO_LANGUAGE
from tests.support.server import Client, serving, seven
from vimnp.models.mamba.model import MambaLM
from vimnp.serve.limits import Limits

PICTURE = base64.b64encode(seven()).decode()
LIMITS = Limits(new_tokens=4, choices=3, prompt_tokens=20)

LEAVES: list[Any] = [
    None,
    True,
    False,
    0,
    1,
    -1,
    2,
    0.5,
    10**30,
    -(10**400),
    1e308,
    "",
    "a",
    "\ud800",
]
LEAVES += ["text", "digits", PICTURE, "user", "none", "softmax", [], {}]
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from(LEAVES),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "65", "type", "text"]), inner)
    ),
    max_leaves=4,
)

FRAMES: dict[str, dict[str, Any]] = {
    "/models/digits": {"inputs": PICTURE, "parameters": {"top_k": 1, "function_to_apply": "none"}},
    "/explain/digits": {"inputs": PICTURE, "parameters": {"class": 1}},
    "/v1/embeddings": {
        "model": "digits",
        "input": [PICTURE],
        "encoding_format": "float",
        "user": "me",
        "dimensions": None,
    },
    "/v1/completions": {
        "model": "text",
        "prompt": "ab",
        "max_tokens": 2,
        "temperature": 1.0,
        "top_p": 1.0,
        "top_k": 0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "logit_bias": {},
        "seed": 1,
        "stop": None,
        "n": 1,
        "echo": False,
        "logprobs": None,
        "stream": False,
        "stream_options": None,
        "ignore_eos": False,
        "presence_penalty": 0,
        "best_of": 1,
    },
    "/v1/chat/completions": {
        "model": "text",
        "messages": [{"role": "user", "content": "a"}],
        "max_completion_tokens": 2,
        "logprobs": True,
        "top_logprobs": 1,
        "tools": [],
        "response_format": None,
        "stream": False,
    },
}


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    models = {
        "digits": vimnp.load("digits"),
        "text": MambaLM.random(MICRO_LANGUAGE, tokenizer="bytes"),
    }
    with serving(models, limits=LIMITS) as found:
        yield found


@pytest.mark.parametrize("path", FRAMES)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_value_anywhere_is_answered_or_refused(
    client: Client, path: str, data: st.DataObject
) -> None:
    frame = FRAMES[path]
    names = data.draw(st.lists(st.sampled_from([*frame]), min_size=1, max_size=3, unique=True))
    body = frame | {name: data.draw(VALUES) for name in names}
    if data.draw(st.booleans()) and isinstance(body.get("parameters"), dict):
        inner = data.draw(st.sampled_from(["top_k", "function_to_apply", "class"]))
        body["parameters"] = {**body["parameters"], inner: data.draw(VALUES)}
    answer = client.post(path, body)
    assert answer.status in (200, 400, 404), (body, answer.body)
    if answer.status != 200:
        assert answer.json["error"]


@pytest.mark.parametrize("path", FRAMES)
@given(body=st.one_of(st.binary(max_size=40), VALUES.map(lambda v: json.dumps(v).encode())))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_body_is_answered_or_refused(client: Client, path: str, body: bytes) -> None:
    answer = client.post(path, body, **{"Content-Type": "application/json"})
    assert answer.status in (400, 404), (body, answer.body)
    assert answer.json["error"]
