"""``vimnp serve``: what it refuses, and how it begins and ends."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commands import Command, assert_refused
from tests.support.digits import SCANS
from tests.support.micro_language import write_language_model
from tests.support.processes import is_ours

needs_serve = pytest.mark.usefixtures("extra")


@pytest.fixture
def extra() -> None:
    pytest.importorskip("starlette", reason="needs the extra serve: starlette")
    pytest.importorskip("uvicorn", reason="needs the extra serve: uvicorn")
    pytest.importorskip("python_multipart", reason="needs the extra serve: python-multipart")


@pytest.mark.parametrize("package", ["starlette", "uvicorn", "python_multipart"])
def test_without_the_extra_it_says_which_one(
    command: Command, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    if package != "starlette":
        pytest.importorskip("starlette", reason="needs the extra serve: starlette")
        pytest.importorskip("uvicorn", reason="needs the extra serve: uvicorn")
    for name in [*sys.modules]:
        if name.startswith(("vimnp.serve", package)):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    assert_refused(command("serve", "--port", "0"), "pip install 'vimnp[serve]'", package)


@pytest.mark.parametrize("port", ["x", "-1", "65536", "8 0"])
def test_a_port_is_a_number(command: Command, port: str) -> None:
    assert_refused(command("serve", f"--port={port}"), "0 to 65535")


@needs_serve
def test_models_have_different_names(command: Command) -> None:
    run = command("serve", "--model", "digits", "--model", "digits=pydoc", "--port", "0")
    assert_refused(run, "--model digits=pydoc", "another name")


@needs_serve
@pytest.mark.parametrize("asked", ["", "=digits", "digits="])
def test_a_model_has_a_name_and_weights(command: Command, asked: str) -> None:
    assert_refused(command("serve", "--model", asked, "--port", "0"), "NAME=FILE")


@needs_serve
def test_weights_that_are_missing_are_told(command: Command) -> None:
    assert_refused(command("serve", "--model", "missing.npz", "--port", "0"), "missing.npz")


@needs_serve
@pytest.mark.parametrize("host", ["256.1.1.1", "no.such.host.invalid", "192.0.2.1"])
def test_an_address_of_another_machine_is_told(command: Command, host: str) -> None:
    assert_refused(command("serve", "--host", host, "--port", "0"), host, "--host")


@needs_serve
def test_a_port_that_is_taken_is_told(command: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert_refused(command("serve", "--port", port), f"port {port}", "--port")


@needs_serve
def test_an_empty_key_is_refused(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_refused(command("serve", "--api-key", "", "--port", "0"), "key is empty")
    monkeypatch.setenv("VIMNP_API_KEY", " ")
    assert_refused(command("serve", "--port", "0"), "key is empty")


class Server:
    """``vimnp serve`` in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        self.url = process.stdout.readline().strip()
        self.port = int(self.url.rstrip("/").rpartition(":")[2])

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()


@contextlib.contextmanager
def started(*arguments: object, **environment: str) -> Iterator[Server]:
    clean = {name: value for name, value in os.environ.items() if not is_ours(name)}
    process = subprocess.Popen(
        [sys.executable, "-m", "vimnp", "serve", "--port", "0", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=clean | environment,
    )
    with process:
        try:
            yield Server(process)
        finally:
            process.kill()


@needs_serve
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_bundled_network_answers_until_a_signal_comes(number: signal.Signals) -> None:
    with started() as server:
        assert server.url.startswith("http://127.0.0.1:")
        status, body = server.ask("POST", "/models/digits", SCANS[3].read_bytes())
        assert (status, json.loads(body)[0]["label"]) == (200, "3")
        server.process.send_signal(number)
        out, err = server.process.communicate(timeout=60)
    assert (server.process.returncode, out) == (0, "")
    assert (
        err == "vimnp: no --model given: serving the bundled model of handwritten digits, 0 to 9\n"
    )


@needs_serve
def test_what_is_asked_for_before_the_signal_is_answered(tmp_path: Path) -> None:
    weights = write_language_model(tmp_path / "tiny.npz")
    with started("--model", f"text={weights}") as server:
        asked = {"model": "text", "prompt": "abc", "max_tokens": 400, "ignore_eos": True}
        answers: list[tuple[int, bytes]] = []

        def ask() -> None:
            body = json.dumps(asked).encode()
            answers.append(server.ask("POST", "/v1/completions", body))

        thread = threading.Thread(target=ask)
        thread.start()
        while b'kind="written"' not in server.ask("GET", "/metrics")[1]:
            time.sleep(0.01)
        server.process.send_signal(signal.SIGTERM)
        thread.join(60)
        _, err = server.process.communicate(timeout=60)
    ((status, body),) = answers
    assert status == 200
    assert json.loads(body)["usage"]["completion_tokens"] == 400
    assert (server.process.returncode, err) == (0, "")


@needs_serve
@pytest.mark.parametrize("key", [None, "secret"])
def test_whoever_reaches_the_machine_can_ask_where_there_is_no_key(key: str | None) -> None:
    arguments = () if key is None else ("--api-key", key)
    with started("--model", "digits", "--host", "0.0.0.0", *arguments) as server:
        assert server.ask("GET", "/livez")[0] == 200
        server.process.send_signal(signal.SIGTERM)
        _, err = server.process.communicate(timeout=60)
    words = "vimnp: there is no --api-key: whoever reaches this machine can ask\n"
    assert err == (words if key is None else "")


@needs_serve
def test_settings_are_taken(tmp_path: Path) -> None:
    weights = write_language_model(tmp_path / "tiny.npz")
    arguments = ("--model", weights, "--max-body", 50, "--max-pixels", 63, "--dtype", "int8")
    allowed = ("--model", "digits", "--allow-host", "vim.example", "--max-tokens", 5)
    with started(*arguments, *allowed, VIMNP_API_KEY="secret") as server:
        assert server.ask("GET", "/v1/models")[0] == 401
        key = {"Authorization": "Bearer secret", "Host": "vim.example"}
        models = json.loads(server.ask("GET", "/v1/models", **key)[1])["data"]
        assert [each["id"] for each in models] == ["tiny", "digits"]
        picture = SCANS[3].read_bytes()
        assert server.ask("POST", "/models/digits", picture, **key)[0] == 413
        body = json.dumps({"model": "tiny", "prompt": "a", "max_tokens": 6}).encode()
        assert server.ask("POST", "/v1/completions", body, **key)[0] == 400
