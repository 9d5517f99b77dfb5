"""Exchanges, taken by their path before the router: Litestar's way to a handler was 4 % of a small request's CPU, and puts
a wrapper around each chunk of a stream. What is not asked for exactly so goes on to it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from gateway.http.asgi import Receive, Scope, Send
from gateway.http.routes import Handle

_HOST = re.compile(rb"[A-Za-z0-9.:\[\]_-]*")
"""Of a name or an address. Litestar judges all others."""


class Door:
    """An ASGI application before another. `exchanges`: by path, as `exchange_handles` makes them."""

    def __init__(self, exchanges: Mapping[str, Handle], app: Handle) -> None:
        self._exchanges = exchanges
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        handle = self._exchanges.get(scope["path"]) if scope["type"] == "http" else None
        if handle is None or not _plain(scope):
            handle = self._app
        await handle(scope, receive, send)


def _plain(scope: Scope) -> bool:
    for name, value in scope["headers"]:
        if name == b"host":
            return _HOST.fullmatch(value) is not None
    return True
