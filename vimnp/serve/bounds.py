"""How many requests are answered at once, how long each may take, and what is counted of them."""

from __future__ import annotations

import asyncio
import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vimnp.serve.admission import Admission
from vimnp.serve.errors import RequestError, error_response
from vimnp.serve.limits import Limits
from vimnp.serve.metrics import Metrics

_SECURITY = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; media-src 'self' blob:; connect-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
_HEADERS = [(name.encode(), value.encode()) for name, value in _SECURITY.items()]

_log = logging.getLogger("vimnp.serve")


class Bounds:
    """Admits a request if there is a place, and ends it when its time is over.

    Parameters
    ----------
    app : ASGIApp
    limits : Limits
    admission : Admission
    metrics : Metrics
    """

    def __init__(
        self, app: ASGIApp, limits: Limits, admission: Admission, metrics: Metrics
    ) -> None:
        self._app, self._limits = app, limits
        self._admission, self._metrics = admission, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(send)
        begin = time.perf_counter()
        try:
            await self._admitted(scope, receive, answer)
        finally:
            path = getattr(scope.get("route"), "path", "") or "other"
            self._metrics.seconds.observe(time.perf_counter() - begin, path=path)
            self._metrics.requests.add(
                path=path, method=_method(scope), status=str(answer.status or "cut")
            )

    async def _admitted(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        seconds = self._limits.seconds
        try:
            if scope["method"] != "POST":  # what is asked for stands in memory
                async with asyncio.timeout(seconds):
                    await self._app(scope, receive, answer)
                return
            with self._admission.place() as place:
                scope["vimnp.place"] = place
                async with asyncio.timeout(seconds):
                    await self._app(scope, receive, answer)
        except RequestError as error:
            await error_response(scope["path"], error)(scope, receive, answer)
        except TimeoutError:
            if answer.status is None:
                late = RequestError(
                    504, f"there was no answer within {seconds:g} seconds", code="timeout"
                )
                await error_response(scope["path"], late)(scope, receive, answer)
            # Else the connection is closed in the midst of the answer, since nothing ended it.
        except Exception:
            # The log has it, and the client is told nothing of the inside.
            _log.exception("%s %r was not answered", _method(scope), scope["path"])
            if answer.status is None:
                words = "something went wrong within the server, whose log has it"
                await error_response(scope["path"], RequestError(500, words))(
                    scope, receive, answer
                )


class _Answer:
    """Sends an answer, with the headers that keep browsers from being misled."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status: int | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": [*message.get("headers", ()), *_HEADERS]}
        await self._send(message)


def _method(scope: Scope) -> str:
    known = ("GET", "HEAD", "POST", "OPTIONS", "PUT", "DELETE", "PATCH")
    return scope["method"] if scope["method"] in known else "other"
