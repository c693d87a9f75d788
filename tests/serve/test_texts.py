"""Texts over HTTP: the same that the network writes, whole or piece by piece."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

pytest.importorskip("starlette", reason="needs the extra serve: starlette")
pytest.importorskip("uvicorn", reason="needs the extra serve: uvicorn")
pytest.importorskip("python_multipart", reason="needs the extra serve: python-multipart")

import vimnp
from tests.support.micro_language import MICRO_LANGUAGE
from tests.support.server import Client, networks_are_busy, serving
from vimnp.models.conversation import Conversation
from vimnp.models.mamba.model import MambaLM
from vimnp.serve.limits import Limits
from vimnp.text.chat import PlainChat

MODEL = MambaLM.random(MICRO_LANGUAGE, tokenizer="bytes")
PICTURES = vimnp.load("digits")
PYDOC: Any = vimnp.load("pydoc")  # what it writes are whole characters
LIMITS = Limits(prompt_tokens=256, new_tokens=256, choices=4, text_bytes=4096)
PROMPT = "The functión"
ASKED: dict[str, Any] = {"model": "text", "prompt": PROMPT, "max_tokens": 20, "seed": 5}
CHAT: dict[str, Any] = {
    "model": "text",
    "messages": [{"role": "user", "content": "hello"}],
    "max_tokens": 20,
    "seed": 5,
}


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with serving({"text": MODEL, "digits": PICTURES, "pydoc": PYDOC}, limits=LIMITS) as found:
        yield found


def complete(client: Client, **asked: Any) -> Any:
    answer = client.post("/v1/completions", ASKED | asked)
    assert answer.status == 200, answer.body
    return answer.json


def write(prompt: Any = PROMPT, **options: Any) -> Any:
    given: Any = {"max_new_tokens": 20, "seed": 5, "temperature": 1.0} | options
    return MODEL.generate(prompt, **given)


OPTIONS: list[dict[str, Any]] = [
    {},
    {"temperature": 0},
    {"temperature": 0.7, "top_p": 0.9, "top_k": 30, "min_p": 0.01},
    {"repetition_penalty": 1.3, "logit_bias": {"65": 3.5}},
    {"ignore_eos": True, "stop": ["e", "\x00"]},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_a_text_goes_on_as_the_network_s_own(client: Client, options: dict[str, Any]) -> None:
    ours = dict(options)
    if "logit_bias" in ours:
        ours["logit_bias"] = {int(key): bias for key, bias in ours["logit_bias"].items()}
    expected = write(**ours)
    found = complete(client, **options)
    (choice,) = found["choices"]
    assert (choice["text"], choice["finish_reason"]) == (expected.text, expected.finish_reason)
    usage = found["usage"]
    assert usage["prompt_tokens"] == len(expected.prompt_ids)
    assert usage["completion_tokens"] == len(expected.ids)
    assert usage["total_tokens"] == sum(map(len, (expected.prompt_ids, expected.ids)))


@pytest.mark.parametrize("options", OPTIONS)
def test_a_stream_is_the_same_text(client: Client, options: dict[str, Any]) -> None:
    events = client.events("/v1/completions", ASKED | options)
    whole = complete(client, **options)["choices"][0]
    choices = [event["choices"][0] for event in events]
    assert "".join(choice["text"] for choice in choices) == whole["text"]
    assert choices[-1]["finish_reason"] == whole["finish_reason"]
    assert {choice["finish_reason"] for choice in choices[:-1]} <= {None}


def test_ids_are_a_prompt_too_and_several_are_answered_in_order(client: Client) -> None:
    first, second = "abc", "defgh"
    expected = [write(each).text for each in (first, second)]
    ids = [[*each.encode()] for each in (first, second)]
    for prompts in ([first, second], ids):
        found = complete(client, prompt=prompts)
        assert [choice["text"] for choice in found["choices"]] == expected
        assert found["usage"]["prompt_tokens"] == 8
    assert complete(client, prompt=ids[0])["choices"][0]["text"] == expected[0]


def test_several_texts_for_a_prompt_have_seeds_of_their_own(client: Client) -> None:
    found = complete(client, n=3)
    assert [choice["index"] for choice in found["choices"]] == [0, 1, 2]
    texts = [choice["text"] for choice in found["choices"]]
    assert texts == [write(seed=seed).text for seed in (5, 6, 7)]
    assert found["usage"]["prompt_tokens"] == len(PROMPT.encode())
    events = client.events("/v1/completions", ASKED | {"n": 3})
    for index, text in enumerate(texts):
        pieces = [c["text"] for event in events for c in event["choices"] if c["index"] == index]
        assert "".join(pieces) == text


def test_texts_that_are_written_at_once_do_not_disturb_each_other(client: Client) -> None:
    with ThreadPoolExecutor(8) as threads:
        with networks_are_busy(client):
            asked = [threads.submit(complete, client, seed=seed) for seed in range(8)]
            while client.app.state.admission.requests < 8:
                pass
        found = [each.result() for each in asked]
    expected = [write(seed=seed).text for seed in range(8)]
    assert [each["choices"][0]["text"] for each in found] == expected


@pytest.mark.parametrize("echo", [False, True])
def test_log_probabilities_are_the_network_s(client: Client, echo: bool) -> None:
    asked = {"logprobs": 2, "echo": echo, "max_tokens": 5}
    found = complete(client, **asked)["choices"][0]["logprobs"]
    expected = write(logprobs=2, echo=echo, max_new_tokens=5)
    assert found["tokens"] == [
        chr(token) if token < 128 else f"token_id:{token}" for token in expected.ids
    ]
    numbers = [each and each.logprob for each in expected.logprobs]
    assert found["token_logprobs"] == numbers
    assert [top and len(top) for top in found["top_logprobs"]][1:] == [2] * (len(numbers) - 1)
    events = client.events("/v1/completions", ASKED | asked)
    pieces = [event["choices"][0]["logprobs"] for event in events]
    told = [number for piece in pieces if piece for number in piece["token_logprobs"]]
    assert told == numbers


def chat(client: Client, **asked: Any) -> Any:
    answer = client.post("/v1/chat/completions", CHAT | asked)
    assert answer.status == 200, answer.body
    return answer.json


def test_a_chat_is_answered_as_a_conversation(client: Client) -> None:
    talk = Conversation(
        PYDOC, PlainChat(), system="Be kind.", max_new_tokens=20, seed=5, temperature=1.0
    )
    first = "".join(talk.reply("hello"))
    second = "".join(talk.reply("and then?"))
    messages = [{"role": "developer", "content": "Be kind."}, *CHAT["messages"]]
    found = chat(client, model="pydoc", messages=messages)
    assert found["choices"][0]["message"]["content"] == first
    messages += [
        {"role": "assistant", "content": first},
        {
            "role": "user",
            "content": [{"type": "text", "text": "and "}, {"type": "text", "text": "then?"}],
        },
    ]
    found = chat(client, model="pydoc", messages=messages)
    assert found["choices"][0]["message"] == {
        "role": "assistant",
        "content": second,
        "refusal": None,
    }
    assert found["object"] == "chat.completion"


def test_a_chat_s_stream_is_the_same_text(client: Client) -> None:
    whole = chat(client)
    asked = CHAT | {"stream_options": {"include_usage": True}}
    *events, last = client.events("/v1/chat/completions", asked)
    assert (last["choices"], last["usage"]) == ([], whole["usage"])
    deltas = [event["choices"][0]["delta"] for event in events]
    assert deltas[0] == {"role": "assistant", "content": ""}
    text = "".join(delta.get("content", "") for delta in deltas)
    assert text == whole["choices"][0]["message"]["content"]
    assert events[-1]["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]


def test_a_chat_s_log_probabilities(client: Client) -> None:
    found = chat(client, logprobs=True, top_logprobs=2, max_tokens=3)
    content = found["choices"][0]["logprobs"]["content"]
    assert len(content) == 3
    assert all(len(each["top_logprobs"]) == 2 and each["logprob"] < 0 for each in content)
    assert chat(client, max_tokens=3)["choices"][0]["logprobs"] is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"prompt": None},
        {"prompt": []},
        {"prompt": ""},
        {"prompt": 5},
        {"prompt": ["a", 5]},
        {"prompt": [True]},
        {"prompt": [-1]},
        {"prompt": [256]},
        {"prompt": [10**30]},
        {"prompt": "a" * 257},
        {"prompt": ["a"] * 5},
        {"prompt": ["a"] * 3, "n": 2},
        {"prompt": "\ud800"},
        {"n": 5},
        {"n": 0},
        {"max_tokens": 257},
        {"max_tokens": -1},
        {"max_tokens": 1.5},
        {"temperature": -1},
        {"temperature": "hot"},
        {"top_p": 2},
        {"seed": "x"},
        {"seed": -1},
        {"stop": 5},
        {"stop": [""]},
        {"stream": "yes"},
        {"stream_options": 3},
        {"echo": 3},
        {"logprobs": 21},
        {"logprobs": True},
        {"logit_bias": [1]},
        {"logit_bias": {"x": 1}},
        {"logit_bias": {"9" * 40: 1}},
        {"logit_bias": {"65": "x"}},
        {"presence_penalty": 0.5},
        {"suffix": "x"},
        {"best_of": 2},
        {"surprise": 1},
        {"model": "digits"},
        {"model": ["text"]},
        {"model": None},
    ],
)
def test_what_means_nothing_or_too_much_is_refused(client: Client, wrong: dict[str, Any]) -> None:
    for extra in ({}, {"stream": True}):
        answer = client.post("/v1/completions", ASKED | extra | wrong)
        assert answer.status == 400, answer.body
        error = answer.json["error"]
        assert error["message"]
        assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "wrong",
    [
        {"messages": None},
        {"messages": []},
        {"messages": ["hello"]},
        {"messages": [{"role": "tool", "content": "x"}]},
        {"messages": [{"role": ["user"], "content": "x"}]},
        {"messages": [{"role": "user"}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
        {"tools": [{"type": "function"}]},
        {"response_format": {"type": "json_object"}},
        {"top_logprobs": 3},
        {"prompt": "x"},
    ],
)
def test_a_chat_that_means_nothing_is_refused(client: Client, wrong: dict[str, Any]) -> None:
    answer = client.post("/v1/chat/completions", CHAT | wrong)
    assert answer.status == 400, answer.body
    assert answer.json["error"]["message"]


def test_what_does_not_matter_is_let_through(client: Client) -> None:
    neutral = {"user": "me", "metadata": {}, "presence_penalty": 0, "suffix": None, "tools": []}
    assert complete(client, **neutral)["choices"] == complete(client)["choices"]


def test_an_unknown_model_is_not_found(client: Client) -> None:
    answer = client.post("/v1/completions", ASKED | {"model": "other"})
    assert (answer.status, answer.json["error"]["code"]) == (404, "model_not_found")


def test_a_long_prompt_says_what_is_expected(client: Client) -> None:
    answer = client.post("/v1/completions", ASKED | {"prompt": "a" * 257})
    assert answer.json["error"]["code"] == "context_length_exceeded"
    assert "at most 256" in answer.json["error"]["message"]
    assert client.post("/v1/completions", ASKED | {"prompt": "a" * 5000}).status == 413


def written(client: Client) -> float:
    lines = client.get("/metrics").body.decode().splitlines()
    found = [line for line in lines if 'kind="written"' in line]
    return float(found[0].split()[-1]) if found else 0


@pytest.mark.parametrize("stream", [False, True])
def test_nothing_more_is_written_once_the_client_has_gone(stream: bool) -> None:
    limits = Limits(new_tokens=10**6)
    with serving({"text": MODEL}, limits=limits) as client:
        asked = ASKED | {"max_tokens": 10**6, "ignore_eos": True, "stream": stream}
        body = json.dumps(asked).encode()
        with client.raw() as connection:
            connection.sendall(
                b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n"
                b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
            )
            while written(client) < 5:
                time.sleep(0.01)
        while "\nvimnp_requests 0" not in client.get("/metrics").body.decode():
            time.sleep(0.01)
        assert written(client) < 10**6


def test_a_text_that_takes_too_long_ends_as_at_the_number_of_tokens() -> None:
    limits = Limits(new_tokens=10**6, seconds=1.0)
    with serving({"text": MODEL}, limits=limits) as client:
        (choice,) = complete(client, max_tokens=10**6, ignore_eos=True)["choices"]
        assert choice["finish_reason"] == "length"
        assert choice["text"]
