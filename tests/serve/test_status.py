"""What the server says of itself."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

pytest.importorskip("starlette", reason="needs the extra serve: starlette")
pytest.importorskip("uvicorn", reason="needs the extra serve: uvicorn")
pytest.importorskip("python_multipart", reason="needs the extra serve: python-multipart")

import vimnp
from tests.support.micro_language import MICRO_LANGUAGE
from tests.support.server import Client, serving, seven
from vimnp.errors import ConfigError
from vimnp.models.mamba.model import MambaLM
from vimnp.serve.app import make_app, routes
from vimnp.serve.metrics import Counter, Histogram
from vimnp.serve.openapi import describe


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    models = {
        "digits": vimnp.load("digits"),
        "text": MambaLM.random(MICRO_LANGUAGE, tokenizer="bytes"),
    }
    with serving(models) as found:
        yield found


def test_probes(client: Client) -> None:
    assert client.get("/livez").json == {"status": "ok"}
    assert client.get("/readyz").json == {"status": "ok"}
    expected = {"status": "ok", "models": ["digits", "text"], "version": vimnp.__version__}
    assert client.get("/health").json == expected
    client.app.state.is_ready = False
    try:
        assert client.get("/readyz").status == 503
    finally:
        client.app.state.is_ready = True


def test_models(client: Client) -> None:
    found = client.get("/v1/models").json["data"]
    tasks = {each["id"]: (each["object"], each["task"], each["explains"]) for each in found}
    assert tasks == {
        "digits": ("model", "image-classification", True),
        "text": ("model", "text-generation", False),
    }
    assert client.get("/v1/models/digits").json == found[0]
    assert client.get("/v1/models/other").status == 404


def test_the_page(client: Client) -> None:
    answer = client.get("/")
    assert answer.headers["content-type"].startswith("text/html")
    assert b"<html" in answer.body
    for outside in ("/../limits.py", "/..%2flimits.py", "/page/..", "/.", "/%00", "/a/b"):
        assert client.get(outside).status == 404


def test_the_description_has_every_path_and_no_other() -> None:
    described = {
        (path, method.upper()) for path, each in describe()["paths"].items() for method in each
    }
    ours = {
        (re.sub(r":path(?=\})", "", route.path), method)  # type: ignore[attr-defined]
        for route in routes()
        for method in route.methods - {"HEAD"}  # type: ignore[attr-defined]
    }
    assert described == ours


def test_the_description_names_each_path_s_variables(client: Client) -> None:
    for path, methods in client.get("/openapi.json").json["paths"].items():
        for each in methods.values():
            named = {p["name"] for p in each.get("parameters", ()) if p["in"] == "path"}
            assert named == {*re.findall(r"\{(\w+)\}", path)}
            assert "200" in each["responses"]


def test_metrics_are_what_prometheus_reads(client: Client) -> None:
    client.post("/models/digits", seven())
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    value = re.compile(r'[a-z_]+(\{([a-z]+="[^"\n]*",?)*\})? [-+.0-9e]+')
    lines = answer.body.decode().splitlines()
    for line in lines:
        assert re.fullmatch(r"# (HELP|TYPE) \S+ .+", line) or value.fullmatch(line), line
    names = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(names) == len(set(names))
    assert 'path="/models/{name:path}",method="POST",status="200"} 1' in answer.body.decode()


def test_a_counter_s_labels_are_escaped() -> None:
    counter = Counter("n", "What.")
    counter.add(model='a"b\\c\nd')
    counter.add(2, model='a"b\\c\nd')
    assert counter.lines()[-1] == 'n{model="a\\"b\\\\c\\nd"} 3'


def test_a_histogram_counts_what_is_at_most_each_bound() -> None:
    histogram = Histogram("s", "What.")
    for seconds in (0.001, 0.005, 0.3, 1000):
        histogram.observe(seconds, path="/")
    lines = histogram.lines()
    assert 's_bucket{path="/",le="0.005"} 2' in lines
    assert 's_bucket{path="/",le="0.5"} 3' in lines
    assert 's_bucket{path="/",le="30.0"} 3' in lines
    assert 's_bucket{path="/",le="+Inf"} 4' in lines
    assert 's_count{path="/"} 4' in lines


def test_nothing_to_serve_and_an_empty_key_are_refused() -> None:
    with pytest.raises(ConfigError, match="no models"):
        make_app({})
    with pytest.raises(ConfigError, match="empty"):
        make_app({"digits": vimnp.load("digits")}, api_key=" ")
