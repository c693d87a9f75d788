"""Requests are refused by their heads: by name, by origin, by key."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

pytest.importorskip("starlette", reason="needs the extra serve: starlette")
pytest.importorskip("python_multipart", reason="needs the extra serve: python-multipart")

from vimnp.serve.guard import Guard


def ask(
    path: str = "/models/digits", host: str = "127.0.0.1:8000", **settings: Any
) -> tuple[int, dict[str, str]]:
    """The status that a request's head gets, 200 where it is let through."""
    headers = settings.pop("headers", {})
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        sent.append({"status": 200, "headers": []})

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "headers": [
            (name.lower().encode(), value.encode())
            for name, value in [("Host", host), *headers.items()]
        ],
    }
    asyncio.run(Guard(app, **settings)(scope, None, send))  # type: ignore[arg-type]
    found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], found


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:8000", "localhost:8000", "LOCALHOST", "[::1]:8000", "192.168.1.7:80"],
)
def test_this_machine_s_names_and_any_address_are_let_through(host: str) -> None:
    assert ask(host=host)[0] == 200


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example"],
)
def test_another_name_may_have_been_made_to_point_here(host: str) -> None:
    assert ask(host=host)[0] == 421
    assert ask(host=host, path="/")[0] == 421


def test_a_name_can_be_allowed() -> None:
    assert ask(host="pictures.example", hosts=["Pictures.example"])[0] == 200
    assert ask(host="other.example", hosts=["pictures.example"])[0] == 421


def origin(value: str) -> dict[str, Any]:
    return {"headers": {"Origin": value}}


def test_a_page_of_this_server_may_ask() -> None:
    assert ask(host="127.0.0.1:8000", **origin("http://127.0.0.1:8000"))[0] == 200
    assert ask(host="localhost:8000", **origin("https://localhost:8000"))[0] == 200


@pytest.mark.parametrize(
    "value",
    ["http://evil.example", "http://127.0.0.1:9000", "http://localhost:8000", "null", "", "//["],
)
def test_a_page_of_another_site_may_not(value: str) -> None:
    assert ask(host="127.0.0.1:8000", **origin(value))[0] == 403


def test_a_page_of_a_proxy_may_whatever_name_the_proxy_asks_by() -> None:
    allowed = {"hosts": ["pictures.example"]}
    assert ask(host="127.0.0.1:8000", **origin("https://pictures.example"), **allowed)[0] == 200
    assert ask(host="127.0.0.1:8000", **origin("https://other.example"), **allowed)[0] == 403


@pytest.mark.parametrize("path", ["/models/digits", "/explain/digits", "/v1/models", "/metrics"])
@pytest.mark.parametrize("shown", [None, "Bearer other", "Bearer ", "Basic secret", "secret"])
def test_without_the_key_nothing_works(path: str, shown: str | None) -> None:
    headers = {} if shown is None else {"Authorization": shown}
    status, answered = ask(path, api_key="secret", headers=headers)
    assert (status, answered["www-authenticate"]) == (401, "Bearer")


@pytest.mark.parametrize("path", ["/", "/page.js", "/livez", "/readyz", "/health", "/openapi.json"])
def test_page_and_probes_take_no_key(path: str) -> None:
    assert ask(path, api_key="secret")[0] == 200


def test_with_the_key_all_works() -> None:
    assert ask(api_key="s3crét", headers={"Authorization": "Bearer s3crét"})[0] == 200
    assert ask(api_key="secret", headers={"Authorization": "bearer secret"})[0] == 200
