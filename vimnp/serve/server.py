"""The server: uvicorn, bounded in what it takes before an application sees it."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from vimnp.errors import VimnpError
from vimnp.serve.limits import Limits

_HEAD_BYTES = 1 << 15
_KEEP_ALIVE_SECONDS = 15
_SHUTDOWN_SECONDS = 30


def listen(host: str, port: int) -> socket.socket:
    """A socket that clients can connect to.

    Parameters
    ----------
    host : str
        An address of this machine, or its name.
    port : int
        0 for any that is free.

    Raises
    ------
    VimnpError
        If that cannot be had, as where another process has the port.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        found = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise _cannot_listen(host, port, error) from None
    try:
        if os.name == "posix":  # elsewhere another process could take the port as well
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(1024)
    except OSError as error:
        found.close()
        raise _cannot_listen(host, port, error) from None
    return found


def _cannot_listen(host: str, port: int, error: OSError) -> VimnpError:
    return VimnpError(
        f"cannot listen at {host}, port {port} ({error.strerror}); expected an address of this "
        "machine, and a port that is free: give another --host or --port"
    )


def address_of(listener: socket.socket) -> str:
    """Where clients find it, as an address for browsers."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def make_server(app: Starlette) -> uvicorn.Server:
    """A server for an application from :func:`vimnp.serve.app.make_app`."""
    limits: Limits = app.state.limits
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=_bounded(limits.receive_seconds),
            loop="asyncio",
            ws="none",
            lifespan="on",
            log_level="error",  # what strangers send is no news
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=limits.connections,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
            h11_max_incomplete_event_size=_HEAD_BYTES,
        )
    )


def is_local(listener: socket.socket) -> bool:
    """Whether only this machine can reach it."""
    return ipaddress.ip_address(listener.getsockname()[0].partition("%")[0]).is_loopback


def run(
    server: uvicorn.Server,
    listener: socket.socket,
    *,
    announce: Callable[[], object] = lambda: None,
) -> None:
    """Serve until a signal asks the process to end, or ``server.should_exit`` is set.

    Requests in hand are answered then.

    Parameters
    ----------
    server : uvicorn.Server
    listener : socket
    announce : callable
        Is called when requests can come.

    Raises
    ------
    KeyboardInterrupt, or what the process raises for SIGTERM
        After all was ended in order.
    """

    async def serve() -> None:
        waiting = asyncio.create_task(_announced(server, announce))
        try:
            await server.serve([listener])
        finally:
            waiting.cancel()

    asyncio.run(serve())


def return_freed_memory() -> None:
    """Give back to the system what loading has used and freed: a server may be idle for days.

    glibc alone has a function for that, and would keep the memory otherwise.
    """
    import ctypes

    with contextlib.suppress(OSError, AttributeError, TypeError):  # no glibc
        ctypes.CDLL(None).malloc_trim(0)


async def _announced(server: uvicorn.Server, announce: Callable[[], object]) -> None:
    while not server.started:
        await asyncio.sleep(0.01)
    announce()


def _bounded(seconds: float) -> Any:
    """uvicorn's protocol, which would wait for the head of a request as long as it takes."""
    base: Any = H11Protocol

    class Bounded(base):  # type: ignore[misc]
        _head_timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._wait_for_head()

        def data_received(self, data: bytes) -> None:
            with self._watched():
                super().data_received(data)

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            super().connection_lost(exc)

        @contextlib.contextmanager
        def _watched(self) -> Iterator[None]:
            before = self.cycle
            if before is None or before.response_complete:
                self._wait_for_head()  # the beginning of the next request on this connection
            yield
            if self.cycle is not before:
                self._stop_waiting()

        def _wait_for_head(self) -> None:
            if self._head_timer is None:
                self._head_timer = self.loop.call_later(seconds, self.transport.close)

        def _stop_waiting(self) -> None:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None

    return Bounded
