"""One GET of an engine's page beside its API: health, metrics. Over connections of its own, so that a pool full of calls
cannot make an endpoint look ill."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol
from urllib.parse import urlsplit

from gateway.providers.http_client import HttpClient
from gateway.providers.http_errors import ConnectFailed, HttpError
from gateway.providers.http_pool import Limits

LIMITS = Limits(connections=4, waiting=16, idle=2, idle_for=30.0)
"""Of each endpoint: a probe and a scrape at once, and a connection that is on its way out."""
MOST_PAGE = 4 * 1024 * 1024
CONNECT_SECONDS = 5.0


class Unreachable(Exception):
    """No whole page came. `gone`: nobody listens there, so whatever did has stopped."""

    def __init__(self, why: str, *, gone: bool = False) -> None:
        super().__init__(why)
        self.gone = gone


class Get(Protocol):
    async def __call__(self, url: str, *, seconds: float) -> tuple[int, bytes]:
        """Status and body. Raises Unreachable within `seconds`."""
        ...


class HttpGet:
    """`headers`: the provider's own and its credential; some engines want it for their metrics too."""

    def __init__(self, http: HttpClient, headers: Sequence[tuple[str, str]]) -> None:
        self._http = http
        self._headers = list(headers)

    async def __call__(self, url: str, *, seconds: float) -> tuple[int, bytes]:
        try:
            async with asyncio.timeout(seconds):
                reply = await self._http.send(
                    "GET",
                    url,
                    self._headers,
                    b"",
                    connect_timeout=min(CONNECT_SECONDS, seconds),
                    read_timeout=seconds,
                )
                try:
                    parts, size = [], 0
                    while data := await reply.read():
                        size += len(data)
                        if size > MOST_PAGE:
                            raise Unreachable(f"the page is larger than {MOST_PAGE} bytes")
                        parts.append(data)
                    await reply.drain()
                    return reply.status, b"".join(parts)
                finally:
                    await reply.aclose()
        except TimeoutError:
            raise Unreachable(f"no answer within {seconds:g} s") from None
        except HttpError as error:
            raise Unreachable(str(error), gone=isinstance(error, ConnectFailed)) from None


def page_url(base: str, path: str, port: int | None) -> str:
    """A page beside the API: `http://h:8000/v1` and `/metrics` are `http://h:8000/metrics`."""
    parts = urlsplit(base)
    netloc = parts.netloc
    if port is not None:
        host = parts.hostname or ""
        netloc = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return f"{parts.scheme}://{netloc}{parts.path.rstrip('/').removesuffix('/v1')}{path}"
