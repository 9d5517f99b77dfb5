"""The HTTP server: uvicorn with our protocol, and a drain that finishes open streams."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import msgspec
import uvicorn

from gateway.http.health import Readiness
from gateway.http.protocol import Bounds, Rejected, guarded


class ServerLimits(msgspec.Struct, frozen=True):
    """How long things may take, in seconds, and how large a head may be."""

    bounds: Bounds = Bounds()
    keep_alive: float = 75.0
    drain: float = 30.0
    """Seconds that open exchanges have to end after SIGTERM."""
    notice: float = 0.0
    """Seconds between `/readyz` turning 503 and the listening socket closing."""


class DrainingServer(uvicorn.Server):
    """SIGTERM: not ready, a short notice, no new connections, then the open exchanges run to their end."""

    def __init__(
        self, config: uvicorn.Config, readiness: Readiness, notice: float, ready: Callable[[str], None] | None
    ) -> None:
        super().__init__(config)
        self._readiness = readiness
        self._notice = notice
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.config.fd is not None:
            os.close(self.config.fd)  # super listens on a copy; while any is open, the kernel takes connections
        if self.started and self._ready is not None:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            self._ready(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Like super's, but a signal that was obeyed is not raised again: a drain that went well is exit status 0."""
        if threading.current_thread() is not threading.main_thread():  # which alone may handle signals
            yield
            return
        before = {sig: signal.signal(sig, self.handle_exit) for sig in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for sig, handler in before.items():
                signal.signal(sig, handler)

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
    ready: Callable[[str], None] | None = None,
) -> DrainingServer:
    """A server ready for `serve()`. With `fd`, an already listening socket inherited from the supervisor."""
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        fd=fd,
        loop="uvloop",
        http=guarded(limits.bounds, rejected),
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        date_header=True,
        timeout_keep_alive=int(limits.keep_alive),
        timeout_graceful_shutdown=math.ceil(limits.drain),
        backlog=2048,
    )
    return DrainingServer(config, readiness, limits.notice, ready)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket that child processes can inherit: the supervisor's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio sets TCP_NODELAY only on sockets that say they are TCP, and what is accepted
    # says what its listener says. Without it each answer on a kept connection waited for the client's delayed ACK, 40 ms.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((host, port))
    sock.listen(2048)
    sock.set_inheritable(True)
    return sock
