"""What the server says of itself."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from vimnp.serve.served import Registry, Served
from vimnp.version import __version__


async def live(request: Request) -> Response:
    """``GET /livez``: the process answers."""
    return JSONResponse({"status": "ok"})


async def ready(request: Request) -> Response:
    """``GET /readyz``: 503 before it can take requests, and when it is about to end."""
    if request.app.state.is_ready:
        return JSONResponse({"status": "ok"})
    return JSONResponse({"status": "unavailable"}, status_code=503)


async def health(request: Request) -> Response:
    """``GET /health``: the same, with what is served."""
    registry: Registry = request.app.state.registry
    return JSONResponse({"status": "ok", "models": [*registry], "version": __version__})


async def metrics(request: Request) -> Response:
    """``GET /metrics``: for Prometheus."""
    text: str = request.app.state.metrics.text()
    return PlainTextResponse(text, media_type="text/plain; version=0.0.4; charset=utf-8")


async def models(request: Request) -> Response:
    """``GET /v1/models``: OpenAI's list, with the task of each."""
    registry: Registry = request.app.state.registry
    data = [_entry(each) for each in registry.values()]
    return JSONResponse({"object": "list", "data": data})


async def model(request: Request) -> Response:
    """``GET /v1/models/NAME``: one of them."""
    registry: Registry = request.app.state.registry
    return JSONResponse(_entry(registry.named(request.path_params["name"])))


def _entry(served: Served) -> dict[str, Any]:
    return {
        "id": served.name,
        "object": "model",
        "created": 0,
        "owned_by": "vimnp",
        **served.facts(),
    }
