"""Other people's clients get from this server what they ask for."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("starlette", reason="needs the extra serve: starlette")
pytest.importorskip("uvicorn", reason="needs the extra serve: uvicorn")
pytest.importorskip("python_multipart", reason="needs the extra serve: python-multipart")

import vimnp
from tests.support.digits import SCANS
from tests.support.micro_language import MICRO_LANGUAGE
from tests.support.server import Client, serving, seven
from vimnp.models.mamba.model import MambaLM

KEY = "secret"
DIGITS = vimnp.load("digits")
TEXT = MambaLM.random(MICRO_LANGUAGE, tokenizer="bytes")


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with serving({"digits": DIGITS, "text": TEXT}, api_key=KEY) as found:
        yield found


# ---- huggingface_hub ----------------------------------------------------------------------------


@pytest.fixture
def hugging_face(client: Client) -> Any:
    hub = pytest.importorskip("huggingface_hub", reason="needs the extra hub: huggingface_hub")
    return hub.InferenceClient(model=f"{client.url}/models/digits", token=KEY)


def test_hugging_face_s_client_classifies(hugging_face: Any) -> None:
    expected = [(each.label, each.score) for each in DIGITS.predict(SCANS[7])]
    for picture in (seven(), SCANS[7], str(SCANS[7])):
        found = hugging_face.image_classification(picture)
        assert [(each.label, each.score) for each in found] == expected
    (best,) = hugging_face.image_classification(seven(), top_k=1, function_to_apply="none")
    assert (best.label, best.score) == ("7", float(DIGITS(SCANS[7]).max()))


def test_hugging_face_s_client_is_told_what_is_wrong(hugging_face: Any) -> None:
    from huggingface_hub.errors import HfHubHTTPError

    with pytest.raises(HfHubHTTPError, match="not a picture"):
        hugging_face.image_classification(b"abc")


def test_hugging_face_s_client_chats(client: Client) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="needs the extra hub: huggingface_hub")
    inference = hub.InferenceClient(base_url=client.url, token=KEY)
    asked = {"model": "text", "max_tokens": 5, "seed": 1}
    messages = [{"role": "user", "content": "hello"}]
    whole = inference.chat_completion(messages, **asked).choices[0].message.content
    pieces = inference.chat_completion(messages, stream=True, **asked)
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces) == whole


# ---- openai -------------------------------------------------------------------------------------


@pytest.fixture
def openai(client: Client) -> Iterator[Any]:
    package = pytest.importorskip("openai", reason="needs the package openai")
    with package.OpenAI(base_url=f"{client.url}/v1", api_key=KEY, max_retries=0) as found:
        yield found


def test_openai_s_client_lists_models(openai: Any) -> None:
    assert [each.id for each in openai.models.list()] == ["digits", "text"]
    assert openai.models.retrieve("text").id == "text"


def test_openai_s_client_completes(openai: Any) -> None:
    expected = TEXT.generate("abc", max_new_tokens=9, temperature=1.0, seed=3)
    asked = {"model": "text", "prompt": "abc", "max_tokens": 9, "seed": 3}
    found = openai.completions.create(**asked)
    assert found.choices[0].text == expected.text
    assert found.usage.completion_tokens == len(expected.ids)
    pieces = openai.completions.create(stream=True, **asked)
    assert "".join(piece.choices[0].text for piece in pieces) == expected.text


def test_openai_s_client_chats(openai: Any) -> None:
    asked = {
        "model": "text",
        "messages": [{"role": "user", "content": "hello"}],
        "max_completion_tokens": 9,
        "seed": 3,
    }
    whole = openai.chat.completions.create(logprobs=True, top_logprobs=1, **asked)
    text = whole.choices[0].message.content
    assert len(whole.choices[0].logprobs.content) == whole.usage.completion_tokens
    usage = {"stream_options": {"include_usage": True}}
    *pieces, last = openai.chat.completions.create(stream=True, **usage, **asked)
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces) == text
    assert last.usage == whole.usage


def test_openai_s_client_embeds(openai: Any) -> None:
    pictures = [base64.b64encode(scan.read_bytes()).decode() for scan in SCANS[:2]]
    for encoding in ({}, {"encoding_format": "float"}):  # without it the client asks for base64
        found = openai.embeddings.create(model="digits", input=pictures, **encoding)
        rows = np.float32([each.embedding for each in found.data])
        np.testing.assert_array_equal(rows, DIGITS.features(SCANS[:2]))


def test_openai_s_client_is_told_what_is_wrong(client: Client, openai: Any) -> None:
    import openai as package

    with pytest.raises(package.NotFoundError, match="no model 'other'"):
        openai.completions.create(model="other", prompt="a")
    with pytest.raises(package.BadRequestError, match="temperature is -1"):
        openai.completions.create(model="text", prompt="a", temperature=-1)
    stranger = package.OpenAI(base_url=f"{client.url}/v1", api_key="other", max_retries=0)
    with stranger, pytest.raises(package.AuthenticationError, match="Bearer KEY"):
        stranger.models.list()
