"""One call of a service that is not a model: a remote check, a hand-over's webhook, a token. `core.ports.Post`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from gateway.core.errors import Unavailable
from gateway.providers.http_client import HttpClient, HttpReply
from gateway.providers.http_errors import HttpError, ReadTimeout

CONNECT_SECONDS = 5.0


class Poster:
    """Over the gateway's own connections: kept open, TLS verified, no redirects, cookies or environment proxies."""

    def __init__(self, http: HttpClient) -> None:
        self._http = http

    async def __call__(
        self, url: str, headers: Mapping[str, str], body: bytes, *, seconds: float, most: int, method: str = "POST"
    ) -> tuple[int, bytes]:
        """See `core.ports.Post`. The message of what is raised names no URL: that may hold a token."""
        try:
            async with asyncio.timeout(seconds):
                reply = await self._http.send(
                    method,
                    url,
                    list(headers.items()),
                    body,
                    connect_timeout=min(CONNECT_SECONDS, seconds),
                    read_timeout=seconds,
                )
                try:
                    return reply.status, await _body(reply, most)
                finally:
                    await reply.aclose()
        except ReadTimeout:
            raise TimeoutError from None
        except HttpError:
            raise Unavailable("The service cannot be reached.") from None


async def _body(reply: HttpReply, most: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while data := await reply.read():
        size += len(data)
        if size > most:
            raise Unavailable(f"The service answered with more than {most} bytes.")
        parts.append(data)
    await reply.drain()
    return b"".join(parts)
