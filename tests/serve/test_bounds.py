"""No client can take more than its share: of bytes, of time, of places."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

pytest.importorskip("starlette", reason="needs the extra serve: starlette")
pytest.importorskip("uvicorn", reason="needs the extra serve: uvicorn")
pytest.importorskip("python_multipart", reason="needs the extra serve: python-multipart")

import vimnp
from tests.support.micro_language import MICRO_LANGUAGE
from tests.support.server import Client, networks_are_busy, serving, seven
from vimnp.errors import ConfigError
from vimnp.models.mamba.model import MambaLM
from vimnp.serve.limits import Limits

MODEL = vimnp.load("digits")
HEAD = b"POST /models/digits HTTP/1.1\r\nHost: localhost\r\n"


def gauge(client: Client, name: str) -> float:
    found = re.search(rf"^{name} (\S+)$", client.get("/metrics").body.decode(), re.MULTILINE)
    assert found is not None
    return float(found[1])


def wait_for(client: Client, name: str, value: float) -> None:
    end = time.monotonic() + 30
    while gauge(client, name) != value:
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    limits = Limits(body_bytes=100_000, receive_seconds=0.5, requests=3, held_bytes=150_000)
    with serving({"digits": MODEL}, limits=limits) as found:
        yield found


def is_well(client: Client) -> bool:
    """It answers, and nothing of what was before is left."""
    wait_for(client, "vimnp_requests", 0)
    wait_for(client, "vimnp_held_bytes", 0)
    answer = client.post("/models/digits", seven())
    return bool(answer.status == 200 and answer.json[0]["label"] == "7")


def test_a_body_that_is_too_long_is_received_and_refused(client: Client) -> None:
    assert client.post("/models/digits", b"x" * 300_000).status == 413
    chunks = iter([b"x" * 60_000] * 3)  # of a length that nobody knows
    assert client("POST", "/models/digits", chunks).status == 413
    assert is_well(client)


def test_a_body_that_never_ends_is_not_received_to_its_end(client: Client) -> None:
    with client.raw() as connection:
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        chunk = b"%x\r\n%s\r\n" % (50_000, b"x" * 50_000)
        answer = b""
        try:
            for _ in range(1000):
                connection.sendall(chunk)
        except OSError:
            pass  # the server has enough of it
        else:
            answer = connection.recv(100)
        assert answer == b"" or b" 413 " in answer
    assert is_well(client)


def test_who_asks_before_sending_too_much_is_told_at_once(client: Client) -> None:
    with client.raw() as connection:
        connection.sendall(HEAD + b"Content-Length: 200000\r\nExpect: 100-continue\r\n\r\n")
        assert b" 413 " in connection.recv(1000)


@pytest.mark.parametrize("beginning", [b"", b"POST", HEAD, HEAD + b"Content-Length: 9\r\n"])
def test_a_head_that_does_not_come_ends_the_connection(client: Client, beginning: bytes) -> None:
    with client.raw() as connection:
        connection.sendall(beginning)
        assert connection.recv(1000) == b""


def test_a_head_that_comes_drop_by_drop_does_too(client: Client) -> None:
    with client.raw() as connection:
        is_closed = False
        end = time.monotonic() + 30
        while not is_closed:
            assert time.monotonic() < end
            try:
                connection.sendall(b"P")
            except OSError:
                is_closed = True
            time.sleep(0.02)


def test_so_does_the_second_head_on_a_connection(client: Client) -> None:
    with client.raw() as connection:
        body = seven()
        connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        answer = connection.recv(10_000)
        assert b" 200 " in answer
        connection.sendall(b"POST /models")
        while answer:
            answer = connection.recv(10_000)


def test_a_body_that_does_not_come_is_given_up(client: Client) -> None:
    with client.raw() as connection:
        connection.sendall(HEAD + b"Content-Length: 50\r\n\r\nabc")
        assert b" 408 " in connection.recv(1000)
    assert is_well(client)


def test_a_body_that_breaks_off_leaves_nothing(client: Client) -> None:
    for _ in range(8):
        with client.raw() as connection:
            connection.sendall(HEAD + b"Content-Length: 50\r\n\r\nabc")
    assert is_well(client)


@pytest.mark.parametrize("junk", [b"\x16\x03\x01\x02\x00\x01", b"GET\r\n\r\n", b"\r\n" * 9 + b"?"])
def test_what_is_no_http_gets_an_answer_or_none_and_hurts_nobody(
    client: Client, junk: bytes
) -> None:
    with client.raw() as connection:
        connection.sendall(junk)
        assert connection.recv(1000)[:12] in (b"HTTP/1.1 400", b"")
    assert is_well(client)


def test_a_head_that_is_too_long_is_refused(client: Client) -> None:
    with client.raw() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000)
        assert b" 400 " in connection.recv(1000)


def test_more_requests_than_places_are_told_to_come_back(client: Client) -> None:
    with ThreadPoolExecutor(3) as threads:
        with networks_are_busy(client):
            asked = [threads.submit(client.post, "/models/digits", seven()) for _ in range(3)]
            wait_for(client, "vimnp_requests", 3)
            answer = client.post("/models/digits", seven())
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
            assert client.get("/health").status == 200  # who looks after it gets an answer
        assert [future.result().status for future in asked] == [200] * 3
    assert is_well(client)


def test_more_bytes_than_there_is_memory_for_are_told_to_come_back(client: Client) -> None:
    with client.raw() as connection:
        connection.sendall(HEAD + b"Content-Length: 99999\r\n\r\n" + b"x" * 99_000)
        wait_for(client, "vimnp_held_bytes", 99_000)
        assert client.post("/models/digits", b"x" * 90_000).status == 503
    assert is_well(client)


def test_a_request_that_takes_too_long_is_told_so() -> None:
    with serving({"digits": MODEL}, limits=Limits(seconds=0.3)) as client:
        with networks_are_busy(client):
            answer = client.post("/models/digits", seven())
        assert answer.status == 504
        assert "0.3 seconds" in answer.json["error"]
        assert is_well(client)


def test_who_does_not_read_an_answer_holds_no_place_for_ever() -> None:
    limits = Limits(seconds=1.0, new_tokens=10**6)
    model = MambaLM.random(MICRO_LANGUAGE, tokenizer="bytes")
    with serving({"digits": MODEL, "text": model}, limits=limits) as client:
        body = json.dumps(
            {
                "model": "text",
                "prompt": ["a"] * 16,
                "stream": True,
                "logprobs": 20,
                "max_tokens": 10**6,
                "ignore_eos": True,
            }
        )
        with client.raw() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            head = HEAD.replace(b"/models/digits", b"/v1/completions")
            connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body.encode())
            assert is_well(client)


def test_an_error_of_ours_is_logged_and_tells_nothing_of_the_inside(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = vimnp.load("digits")
    with serving({"digits": model}) as client:
        monkeypatch.setattr(model, "best_of", lambda logits, top_k: 1 / 0)
        answer = client.post("/models/digits", seven())
        assert answer.status == 500
        assert "division" not in answer.body.decode()
        monkeypatch.undo()
        assert is_well(client)
        lines = client.get("/metrics").body.decode()
        assert 'path="/models/{name:path}",method="POST",status="500"} 1' in lines
        assert "ZeroDivisionError" in caplog.text


def test_where_memory_is_short_clients_may_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(picture: object) -> None:
        raise MemoryError

    model = vimnp.load("digits")
    with serving({"digits": model}) as client:
        monkeypatch.setattr(model, "preprocess", fail)
        assert client.post("/models/digits", seven()).status == 503


@pytest.mark.parametrize("path", ["/", "/models/digits", "/nothing", "/v1/models", "/openapi.json"])
def test_every_answer_keeps_browsers_from_being_misled(client: Client, path: str) -> None:
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in headers
    assert "server" not in headers


@pytest.mark.parametrize("wrong", [{"body_bytes": 0}, {"batch": 1.5}, {"seconds": 0}])
def test_limits_are_numbers_above_0(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Limits(**wrong)  # type: ignore[arg-type]
