"""How the page's files are sent."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("starlette", reason="needs the extra serve: starlette")
pytest.importorskip("uvicorn", reason="needs the extra serve: uvicorn")
pytest.importorskip("python_multipart", reason="needs the extra serve: python-multipart")

import vimnp
from tests.support.server import Client, serving
from vimnp.serve.app import PAGE

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with serving({"digits": vimnp.load("digits")}, api_key="secret") as found:
        yield found


@pytest.mark.parametrize("name", sorted(file.name for file in PAGE.iterdir()))
def test_a_file_has_its_type_and_the_policy(client: Client, name: str) -> None:
    """Without a key: the page is what asks for it."""
    answer = client.get(f"/{name}")
    assert answer.status == 200
    assert answer.body == (PAGE / name).read_bytes()
    assert answer.headers["content-type"] == TYPES[PAGE.joinpath(name).suffix]
    assert answer.headers["x-content-type-options"] == "nosniff"
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy


def test_the_page_is_at_the_root(client: Client) -> None:
    answer = client.get("/")
    assert (answer.status, answer.body) == (200, (PAGE / "index.html").read_bytes())


@pytest.mark.parametrize("path", ["/none.js", "/../app.py", "/%2e%2e/app.py", "/..%2fapp.py"])
def test_nothing_else_of_the_package_is_sent(client: Client, path: str) -> None:
    assert client.get(path).status in (400, 404)
