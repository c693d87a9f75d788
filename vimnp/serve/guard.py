"""Who may ask: checks of names, origins and keys before anything of a request is read."""

from __future__ import annotations

import ipaddress
import secrets
import socket
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from vimnp.serve.errors import DEEPSTACK, RequestError, error_response

_OPEN = ("/livez", "/readyz", "/health", "/openapi.json")
_WORKING = ("/models/", "/explain/", "/v1/", "/metrics")
"""What takes a key, where there is one. The rest is the page, which asks for it."""


class Guard:
    """Refuses requests by their heads.

    A page of another site can have a browser send requests here, to an address within the house,
    too. Its origin gives it away; and where it has made its own name point here (DNS rebinding),
    the name does.

    Parameters
    ----------
    app : ASGIApp
    hosts : sequence of str
        Names, beside this machine's own, that clients may know this server by.
    api_key : str, optional
        What clients have to show.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str] = (), api_key: str | None = None) -> None:
        self._app = app
        self._hosts = {host.lower().rstrip(".") for host in hosts}
        self._key = None if api_key is None else api_key.encode()
        own = socket.gethostname().lower()
        self._own = {"localhost", own, f"{own.partition('.')[0]}.local"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            self._check(scope)
        except RequestError as error:
            await error_response(scope["path"], error)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if len(headers.getlist("host")) > 1 or not self._is_ours(host):
            raise RequestError(
                421,
                "the request is for another host; expected this machine's address or name: start "
                "the server with --allow-host NAME for one more",
                code="wrong_host",
            )
        origin = headers.get("origin")
        if origin is not None and not self._is_same(origin, host):
            raise RequestError(
                403,
                "the request comes from a page of another site; expected one of this server's own",
                code="wrong_origin",
            )
        self._check_key(scope, headers)

    def _is_ours(self, host: str) -> bool:
        """An address has no name that could be made to point elsewhere."""
        name = _name_of(f"//{host}")
        return name is not None and (name in self._own or name in self._hosts or _is_address(name))

    def _is_same(self, origin: str, host: str) -> bool:
        """The page is this server's, or that of a proxy whose name was given."""
        name = _name_of(origin)
        if name is None:
            return False
        return urlsplit(origin).netloc.lower() == host.lower() or name in self._hosts

    def _check_key(self, scope: Scope, headers: Headers) -> None:
        path = scope["path"]
        scope["vimnp.authorized"] = True
        if self._key is None or path in _OPEN or not path.startswith(_WORKING):
            return
        kind, _, key = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and self.accepts(key.strip().encode("latin-1")):
            return
        # DeepStack's clients have the key in the form, which is looked at when it is read.
        scope["vimnp.authorized"] = False
        scope["vimnp.accepts"] = self.accepts
        if not path.startswith(DEEPSTACK):
            raise no_key()

    def accepts(self, key: bytes) -> bool:
        """Whether it is the key; how long that takes says nothing of it."""
        return self._key is not None and secrets.compare_digest(key, self._key)


def no_key() -> RequestError:
    """The key is missing or wrong."""
    return RequestError(
        401,
        "the key is missing or wrong; expected the header 'Authorization: Bearer KEY'",
        code="invalid_api_key",
        headers={"WWW-Authenticate": "Bearer"},
    )


def _name_of(url: str) -> str | None:
    try:
        name = urlsplit(url).hostname
    except ValueError:
        return None
    return None if name is None else name.rstrip(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
