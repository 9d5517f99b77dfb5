"""The HTTP server: uvicorn, with bounds on headers in bytes and in seconds, and a drain that finishes open streams."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any

import msgspec
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.http.health import Readiness

_PHRASES = {408: "Request Timeout", 431: "Request Header Fields Too Large"}

Rejected = Callable[[str], None]
"""Told the outcome of a connection that never became an exchange: `headers_too_large` or `headers_too_slow`."""


class ServerLimits(msgspec.Struct, frozen=True):
    """`header_bytes`: all header names and values of one request. `header_seconds`: for them to arrive."""

    header_bytes: int = 32 * 1024
    header_seconds: float = 10.0
    keep_alive: float = 75.0
    drain: float = 30.0
    """Seconds that open exchanges have to end after SIGTERM."""
    notice: float = 0.0
    """Seconds between `/readyz` turning 503 and the listening socket closing."""


def guarded(limits: ServerLimits, rejected: Rejected) -> type[HttpToolsProtocol]:
    """uvicorn's protocol, which itself bounds neither, with both bounds. Made once, for one server."""

    class GuardedProtocol(HttpToolsProtocol):
        """One connection. A request that breaks a bound gets its status and the connection is closed."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._refused = False
            self._heading = False
            self._seen = 0
            self._timer: asyncio.TimerHandle | None = None
            self._arm()

        def connection_lost(self, exc: Exception | None) -> None:
            self._disarm()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self._refused:
                return
            self._seen += len(data)
            super().data_received(data)
            if self._heading and self._seen > limits.header_bytes:
                self._refuse(431, "headers_too_large")

        def on_message_begin(self) -> None:
            self._heading = True
            self._arm()
            super().on_message_begin()

        def on_headers_complete(self) -> None:
            self._heading = False
            self._seen = 0
            self._disarm()
            if self._refused:
                return
            if sum(len(name) + len(value) for name, value in self.headers) > limits.header_bytes:
                self._refuse(431, "headers_too_large")
                return
            super().on_headers_complete()

        def on_body(self, body: bytes) -> None:
            if not self._refused:
                super().on_body(body)

        def on_message_complete(self) -> None:
            self._seen = 0
            if not self._refused:
                super().on_message_complete()

        def _arm(self) -> None:
            if self._timer is None:
                self._timer = self.loop.call_later(limits.header_seconds, self._late)

        def _disarm(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _late(self) -> None:
            self._timer = None
            if self._heading:
                self._refuse(408, "headers_too_slow")
            elif self.cycle is None and self.transport is not None:
                self.transport.close()  # nothing was ever asked on this connection

        def _refuse(self, status: int, outcome: str) -> None:
            self._refused = True
            rejected(outcome)
            body = msgspec.json.encode(
                {
                    "error": {
                        "message": f"{_PHRASES[status]}: the limit is {limits.header_bytes} bytes of headers "
                        f"within {limits.header_seconds:g} s.",
                        "type": "invalid_request_error",
                        "param": None,
                        "code": outcome,
                    }
                }
            )
            head = (
                f"HTTP/1.1 {status} {_PHRASES[status]}\r\ncontent-type: application/json\r\n"
                f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
            )
            self.transport.write(head.encode() + body)
            self.transport.close()

    return GuardedProtocol


class DrainingServer(uvicorn.Server):
    """SIGTERM: not ready, a short notice, no new connections, then the open exchanges run to their end."""

    def __init__(
        self, config: uvicorn.Config, readiness: Readiness, notice: float, ready: Callable[[], None] | None
    ) -> None:
        super().__init__(config)
        self._readiness = readiness
        self._notice = notice
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and self._ready is not None:
            self._ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        first = not self._readiness.draining
        self._readiness.draining = True
        if sig == signal.SIGTERM and first and self._notice > 0:
            loop = asyncio.get_running_loop()
            loop.call_soon_threadsafe(loop.call_later, self._notice, super().handle_exit, sig, None)
            return
        super().handle_exit(sig, frame)


def make_server(
    app: Any,
    *,
    host: str,
    port: int,
    readiness: Readiness,
    limits: ServerLimits,
    rejected: Rejected,
    fd: int | None = None,
    ready: Callable[[], None] | None = None,
) -> DrainingServer:
    """A server ready for `serve()`. With `fd`, an already listening socket inherited from the supervisor."""
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        fd=fd,
        loop="uvloop",
        http=guarded(limits, rejected),
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        date_header=True,
        timeout_keep_alive=int(limits.keep_alive),
        timeout_graceful_shutdown=int(limits.drain),
        backlog=2048,
    )
    return DrainingServer(config, readiness, limits.notice, ready)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket that child processes can inherit: the supervisor's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((host, port))
    sock.listen(2048)
    sock.set_inheritable(True)
    return sock
