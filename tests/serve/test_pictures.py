"""What is in a picture, over HTTP: the same as the network says, however it is sent."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from tests.support.digits import SCANS
from tests.support.micro_language import MICRO_LANGUAGE

pytest.importorskip("starlette", reason="needs the extra serve: starlette")
pytest.importorskip("uvicorn", reason="needs the extra serve: uvicorn")
pytest.importorskip("python_multipart", reason="needs the extra serve: python-multipart")

import vimnp
from tests.support.server import Client, form, networks_are_busy, serving, seven
from vimnp.models.mamba.model import MambaLM
from vimnp.serve.limits import Limits

MODEL = vimnp.load("digits")
TEXT = MambaLM.random(MICRO_LANGUAGE, tokenizer="bytes")
JSON = {"Content-Type": "application/json"}
EXPECTED = [
    {"label": each.label, "score": each.score} for each in MODEL.predict(SCANS[7], top_k=10)
]


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    limits = Limits(body_bytes=100_000)
    with serving({"digits": MODEL, "text": TEXT, "a/b": MODEL}, limits=limits) as found:
        yield found


def as_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_a_picture_s_bytes_get_its_classes(client: Client) -> None:
    answer = client.post("/models/digits", seven())
    assert (answer.status, answer.json) == (200, EXPECTED[:5])
    assert client.post("/models/a/b", seven()).json == EXPECTED[:5]


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
def test_a_picture_in_json_does(client: Client, prefix: str) -> None:
    body = {"inputs": prefix + as_base64(seven()), "parameters": {"top_k": 2}}
    assert client.post("/models/digits", body).json == EXPECTED[:2]


@pytest.mark.parametrize("name", ["image", "file"])
def test_a_picture_in_a_form_does(client: Client, name: str) -> None:
    body, head = form(**{name: seven(), "top_k": "3"})
    assert client.post("/models/digits", body, **head).json == EXPECTED[:3]


@pytest.mark.parametrize(("asked", "count"), [("1", 1), ("7", 7), ("10", 10), ("1000", 10)])
def test_as_many_classes_as_are_asked_for(client: Client, asked: str, count: int) -> None:
    assert client.post(f"/models/digits?top_k={asked}", seven()).json == EXPECTED[:count]


def test_scores_can_be_of_each_class_alone_or_the_logits(client: Client) -> None:
    logits = MODEL(SCANS[7])

    def scores(function: str) -> list[float]:
        answer = client.post(f"/models/digits?top_k=10&function_to_apply={function}", seven())
        return [each["score"] for each in answer.json]

    best = np.argsort(-logits)
    np.testing.assert_array_equal(np.float32(scores("none")), logits[best])
    expected = 1 / (1 + np.exp(-logits[best].astype(np.float64)))
    np.testing.assert_allclose(scores("sigmoid"), expected, rtol=1e-12)
    assert scores("softmax") == [each["score"] for each in EXPECTED]


def test_pictures_that_come_together_go_through_the_network_together(client: Client) -> None:
    def counted(name: str) -> float:
        lines = client.get("/metrics").body.decode().splitlines()
        found = [line for line in lines if line.startswith(f'{name}{{model="digits"}}')]
        return float(found[0].split()[-1]) if found else 0

    before = counted("vimnp_batches_total"), counted("vimnp_batched_images_total")
    with ThreadPoolExecutor(10) as threads:
        with networks_are_busy(client):
            asked = [threads.submit(client.post, "/models/digits", s.read_bytes()) for s in SCANS]
            # One batch is on its way to the busy thread, and takes what waits when it gets there.
            while client.app.state.registry["digits"].waiting < len(SCANS):
                pass
        for scan, future in zip(SCANS, asked, strict=True):
            (best, *_) = MODEL.predict(scan)
            found = future.result().json[0]
            assert (found["label"], found["score"]) == (best.label, best.score)
    after = counted("vimnp_batches_total"), counted("vimnp_batched_images_total")
    assert (after[0] - before[0], after[1] - before[1]) == (2, 10)  # of 8, and the rest


BAD: dict[str, tuple[int, Any, dict[str, str], str]] = {
    "nothing": (400, b"", {}, "empty"),
    "no picture": (400, b"abc", {}, "not a picture in a format that is read"),
    "half a picture": (400, seven()[:60], {}, "cannot be read"),
    "no JSON": (400, b"{", JSON, "no JSON"),
    "no number": (400, b'{"inputs": NaN}', JSON, "NaN"),
    "a vast number": (400, b'{"inputs": 1' + b"0" * 400 + b"}", JSON, "401 digits"),
    "deep JSON": (400, b"[" * 90_000, JSON, "no JSON"),
    "no UTF-8": (400, b'{"inputs": "\xff"}', JSON, "no JSON"),
    "a list": (400, b"[1]", JSON, "list"),
    "no inputs": (400, b"{}", JSON, "inputs"),
    "no parameters": (400, b'{"inputs": "", "parameters": 3}', JSON, "parameters"),
    "no base64": (400, b'{"inputs": "?"}', JSON, "base64"),
    "half a form": (400, b"--edge\r\n", form()[1], "form"),
    "no boundary": (400, b"abc", {"Content-Type": "multipart/form-data"}, "form"),
    "a form without a file": (400, form(image="abc")[0], form()[1], "image"),
    "too long": (413, b"x" * 100_001, {}, "100,000 bytes"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_request_is_told_what_is_wrong(client: Client, case: str) -> None:
    status, body, headers, words = BAD[case]
    for path in ("/models/digits", "/explain/digits"):
        answer = client.post(path, body, **headers)
        assert answer.status == status
        assert words in answer.json["error"]
    answer = client.post("/v1/vision/custom/digits", body, **headers)
    assert (answer.json["success"], answer.json["code"]) == (False, status)
    assert words in answer.json["error"]


@pytest.mark.parametrize("top_k", ["0", "-1", "x", "1.5", "9" * 30, ""])
def test_top_k_is_a_number_from_1_up(client: Client, top_k: str) -> None:
    answer = client.post(f"/models/digits?top_k={top_k}", seven())
    assert answer.status == 400
    assert "top_k" in answer.json["error"]


@pytest.mark.parametrize("top_k", [0, -1, "x", 1.5, True, []])
def test_top_k_is_one_in_json_too(client: Client, top_k: object) -> None:
    body = {"inputs": as_base64(seven()), "parameters": {"top_k": top_k}}
    assert "top_k" in client.post("/models/digits", body).json["error"]


def test_other_ways_and_names_are_refused(client: Client) -> None:
    answer = client.post("/models/other", seven())
    assert answer.status == 404
    assert "digits, text, a/b" in answer.json["error"]
    assert client.post("/models/text", seven()).status == 400
    assert client.post("/models/digits?function_to_apply=x", seven()).status == 400
    answer = client.get("/models/digits")
    assert answer.status == 405
    assert "GET" in answer.json["error"]


def test_a_picture_of_too_many_pixels_is_refused() -> None:
    with serving({"digits": MODEL}, limits=Limits(pixels=63)) as client:
        answer = client.post("/models/digits", seven())
    assert answer.status == 400
    assert "64 pixels; expected at most 63: scale it down" in answer.json["error"]
    assert "PIL" not in answer.json["error"]


def test_deepstack_s_clients_get_boxes(client: Client) -> None:
    body, head = form(image=seven(), min_confidence="0.5")
    answer = client.post("/v1/vision/custom/digits", body, **head).json
    assert (answer["success"], answer["code"], answer["count"]) == (True, 200, 1)
    (found,) = answer["predictions"]
    box = {"x_min": 0, "y_min": 0, "x_max": 8, "y_max": 8}
    assert found == {"label": "7", "confidence": EXPECTED[0]["score"], **box}
    body, head = form(image=seven(), min_confidence="much")
    assert client.post("/v1/vision/custom/digits", body, **head).json["code"] == 400


def test_deepstack_s_clients_can_ask_what_there_is(client: Client) -> None:
    answer = client.post("/v1/vision/custom/list").json
    assert answer == {"success": True, "models": ["digits", "a/b"]}


def test_deepstack_s_clients_send_the_key_in_the_form() -> None:
    with serving({"digits": MODEL}, api_key="secret") as client:
        for key, status in (("secret", 200), ("other", 401)):
            body, head = form(image=seven(), api_key=key)
            assert client.post("/v1/vision/custom/digits", body, **head).status == status
        body, head = form(image=seven())
        assert client.post("/v1/vision/custom/digits", body, **head).status == 401
        assert client.post("/v1/vision/custom/list").status == 401
        head = {"Authorization": "Bearer secret"}
        assert client.post("/v1/vision/custom/list", **head).status == 200


@pytest.mark.parametrize("asked", [None, "7", "3"])
def test_a_picture_is_explained(client: Client, asked: str | None) -> None:
    answer = client.post("/explain/digits" + (f"?class={asked}" if asked else ""), seven()).json
    expected = MODEL.explain(SCANS[7], asked)
    assert (answer["class"], answer["label"]) == (expected.index, expected.label)
    assert (answer["rows"], answer["columns"]) == expected.map.shape
    np.testing.assert_array_equal(np.float32(answer["contributions"]), expected.map)
    total = np.sum(answer["contributions"]) + answer["rest"]
    np.testing.assert_allclose(total, answer["score"], rtol=1e-4)


def test_what_cannot_be_explained_is_refused(client: Client) -> None:
    assert "class" in client.post("/explain/digits?class=tabby", seven()).json["error"]
    assert client.post("/explain/text", seven()).status == 400


def test_features_are_the_network_s(client: Client) -> None:
    pictures = [as_base64(scan.read_bytes()) for scan in SCANS[:3]]
    body: dict[str, Any] = {"model": "digits", "input": pictures}
    rows = client.post("/v1/embeddings", body).json["data"]
    assert [row["index"] for row in rows] == [0, 1, 2]
    expected = MODEL.features(SCANS[:3])
    np.testing.assert_array_equal(np.float32([row["embedding"] for row in rows]), expected)
    answer = client.post("/v1/embeddings", {**body, "encoding_format": "base64"}).json
    found = [base64.b64decode(row["embedding"]) for row in answer["data"]]
    assert found == [row.astype("<f4").tobytes() for row in expected]


@pytest.mark.parametrize(
    "wrong",
    [
        {"input": None},
        {"input": []},
        {"input": [1]},
        {"input": "?"},
        {"input": ["a"] * 17},
        {"encoding_format": "x"},
        {"dimensions": 3},
        {"other": 3},
        {"model": "text"},
        {"model": None},
    ],
)
def test_features_of_nothing_are_refused(client: Client, wrong: dict[str, Any]) -> None:
    body = {"model": "digits", "input": as_base64(seven())} | wrong
    answer = client.post("/v1/embeddings", body)
    assert answer.status == 400
    assert answer.json["error"]["message"]
