"""The application: what is asked for, and who answers."""

from __future__ import annotations

import contextlib
import mimetypes
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.staticfiles import StaticFiles

from vimnp.errors import ConfigError, VimnpError
from vimnp.models.vision import VisionModel
from vimnp.serve import chat, classify, completions, embeddings, openapi, status
from vimnp.serve.admission import Admission
from vimnp.serve.bounds import Bounds
from vimnp.serve.errors import RequestError, error_response, phrase
from vimnp.serve.guard import Guard
from vimnp.serve.limits import Limits
from vimnp.serve.metrics import Metrics
from vimnp.serve.served import Registry, Served, ServedPictures, ServedText
from vimnp.serve.workers import Workers

if TYPE_CHECKING:
    from vimnp.models.language import LanguageModel

PAGE = Path(__file__).with_name("page")

# Windows' registry may have another type for scripts, of which browsers would run none.
mimetypes.add_type("text/javascript", ".js")
_FILES = StaticFiles(directory=PAGE)


def make_app(
    models: Mapping[str, VisionModel | LanguageModel],
    *,
    limits: Limits | None = None,
    hosts: Sequence[str] = (),
    api_key: str | None = None,
) -> Starlette:
    """An application that serves some networks.

    Parameters
    ----------
    models : mapping of str to a network
        By the names that clients ask for.
    limits : Limits, optional
    hosts : sequence of str
        Names that this server is known by, beside the machine's own and its addresses.
    api_key : str, optional
        What clients have to show, but for the page itself.

    Returns
    -------
    Starlette
        An ASGI application. Its lifespan ends the threads that it works with.

    Raises
    ------
    ConfigError
        If there are no models, or a key is empty.
    """
    if not models:
        raise ConfigError("there are no models to serve; expected one or more")
    if api_key is not None and not api_key.strip():
        raise ConfigError("the API key is empty; expected some characters, or no key at all")
    limits = limits or Limits()
    workers, metrics, admission = Workers(), Metrics(), Admission(limits)
    registry = Registry(
        *(_served(name, model, workers, limits, metrics) for name, model in models.items())
    )
    metrics.gauge("vimnp_requests", "Requests in hand.", lambda: admission.requests)
    metrics.gauge("vimnp_held_bytes", "Bodies in memory.", lambda: admission.held_bytes)
    metrics.gauge("vimnp_queue_length", "Pictures that wait.", lambda: _waiting(registry))

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        app.state.is_ready = True
        yield
        app.state.is_ready = False
        workers.close()

    app = Starlette(
        routes=routes(),
        lifespan=lifespan,
        middleware=[
            Middleware(Bounds, limits=limits, admission=admission, metrics=metrics),
            Middleware(Guard, hosts=hosts, api_key=api_key),
        ],
        exception_handlers={
            VimnpError: _answer_vimnp_error,
            HTTPException: _answer_http_exception,
            ClientDisconnect: _answer_nobody,
            MemoryError: _answer_memory_error,
        },
    )
    app.state.limits, app.state.registry, app.state.metrics = limits, registry, metrics
    app.state.workers, app.state.admission, app.state.is_ready = workers, admission, False
    return app


def routes() -> list[BaseRoute]:
    """What can be asked for."""
    return [
        Route("/livez", status.live),
        Route("/readyz", status.ready),
        Route("/health", status.health),
        Route("/metrics", status.metrics),
        Route("/v1/models", status.models),
        Route("/v1/models/{name:path}", status.model),
        Route("/models/{name:path}", classify.classify, methods=["POST"]),
        Route("/explain/{name:path}", classify.explain, methods=["POST"]),
        Route("/v1/vision/custom/{name:path}", classify.classify_as_deepstack, methods=["POST"]),
        Route("/v1/completions", completions.complete, methods=["POST"]),
        Route("/v1/chat/completions", chat.chat, methods=["POST"]),
        Route("/v1/embeddings", embeddings.embed, methods=["POST"]),
        Route("/openapi.json", openapi.openapi),
        Route("/", _page),
        Route("/{file}", _page),
    ]


async def _page(request: Request) -> Response:
    """The page, and what belongs to it."""
    return await _FILES.get_response(request.path_params.get("file", "index.html"), request.scope)


def _served(
    name: str,
    model: VisionModel | LanguageModel,
    workers: Workers,
    limits: Limits,
    metrics: Metrics,
) -> Served:
    if isinstance(model, VisionModel):
        return ServedPictures(name, model, workers, limits, metrics)
    return ServedText(name, model, workers, limits, metrics)


def _waiting(registry: Registry) -> int:
    return sum(each.waiting for each in registry.values() if isinstance(each, ServedPictures))


# ---- Errors -------------------------------------------------------------------------------------


def _answer_vimnp_error(request: Request, error: Any) -> Response:
    """What the client has sent cannot be used, and the message says why."""
    if not isinstance(error, RequestError):
        error = RequestError(400, str(error))
    return error_response(request.url.path, error)


def _answer_http_exception(request: Request, error: Any) -> Response:
    found = RequestError(error.status_code, _words(request, error), headers=error.headers)
    return error_response(request.url.path, found)


def _words(request: Request, error: HTTPException) -> str:
    if error.status_code == 404:
        return f"there is nothing at {request.url.path[:100]}: /openapi.json says what there is"
    if error.status_code == 405:
        return f"{request.method[:20]} is not for {request.url.path[:100]}: see /openapi.json"
    return error.detail or phrase(error.status_code)


def _answer_nobody(request: Request, error: Exception) -> Response:
    """The client has gone; this is for the count."""
    return JSONResponse({"error": "the connection broke off"}, status_code=400)


def _answer_memory_error(request: Request, error: Exception) -> Response:
    found = RequestError(503, "there is not enough memory for this", code="overloaded")
    return error_response(request.url.path, found)
