"""A server in a thread of this process, and requests to it over real connections."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from tests.support.digits import SCANS


class Answer(NamedTuple):
    """What a server has said."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Asks a server.

    Parameters
    ----------
    app : Starlette
        What answers.
    port : int
    """

    def __init__(self, app: Any, port: int) -> None:
        self.app, self.port = app, port
        self.url = f"http://127.0.0.1:{port}"

    def __call__(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, path, body, dict(headers or {}))
            found = connection.getresponse()
            headers = {name.lower(): value for name, value in found.getheaders()}
            return Answer(found.status, headers, found.read())

    def get(self, path: str, **headers: str) -> Answer:
        return self("GET", path, None, headers)

    def post(self, path: str, body: Any = b"", **headers: str) -> Answer:
        """Of a dict JSON is sent, of anything else the bytes."""
        if isinstance(body, dict):
            body, headers = json.dumps(body), {"Content-Type": "application/json", **headers}
        return self("POST", path, body, headers)

    def events(self, path: str, body: dict[str, Any]) -> list[Any]:
        """What a stream has told, without its end."""
        answer = self.post(path, {**body, "stream": True})
        assert answer.status == 200, answer.body
        assert answer.headers["content-type"].startswith("text/event-stream")
        *events, last, nothing = answer.body.decode().split("\n\n")
        assert (last, nothing) == ("data: [DONE]", "")
        return [json.loads(event.removeprefix("data: ")) for event in events]

    @contextlib.contextmanager
    def raw(self) -> Iterator[socket.socket]:
        """A connection, to send whatever bytes over."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            yield connection


@contextlib.contextmanager
def serving(models: Mapping[str, Any], **settings: Any) -> Iterator[Client]:
    """A server of some networks while the context lasts; settings are those of ``make_app``."""
    from vimnp.serve.app import make_app
    from vimnp.serve.server import listen, make_server, run

    app = make_app(models, **settings)
    server = make_server(app)
    is_ready = threading.Event()
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        thread = threading.Thread(
            target=run, args=(server, listener), kwargs={"announce": is_ready.set}
        )
        thread.start()
        try:
            assert is_ready.wait(30)
            yield Client(app, port)
        finally:
            server.should_exit = True
            thread.join(60)
            assert not thread.is_alive()


@contextlib.contextmanager
def networks_are_busy(client: Client) -> Iterator[None]:
    """No pass begins while this lasts."""
    may_go_on, is_busy = threading.Event(), threading.Event()

    def wait() -> None:
        is_busy.set()
        may_go_on.wait(30)

    future = client.app.state.workers.computing.submit(wait)
    assert is_busy.wait(30)
    try:
        yield
    finally:
        may_go_on.set()
        future.result()


def seven() -> bytes:
    """A picture of a 7."""
    return SCANS[7].read_bytes()


def form(**fields: str | bytes) -> tuple[bytes, dict[str, str]]:
    """A form's body and head; bytes are a file."""
    parts = []
    for name, value in fields.items():
        is_file = isinstance(value, bytes)
        file = '; filename="picture"\r\nContent-Type: application/octet-stream' if is_file else ""
        content = value if isinstance(value, bytes) else value.encode()
        head = f'--edge\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
        parts.append(head.encode() + content + b"\r\n")
    return b"".join(parts) + b"--edge--\r\n", {"Content-Type": "multipart/form-data; boundary=edge"}
