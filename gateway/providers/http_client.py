"""The one door to upstreams over HTTP/1.1, and the only module that imports an HTTP client library.

`HttpClient` speaks over its own connections (`http_pool`), or over any `httpx.AsyncBaseTransport` that is put beneath
it: tests hand in one, operators with a proxy another.

Why our own. Measured on one pinned core with uvloop against `bench/upstream.py`, medians of 3 to 7 runs on a
busy machine (2026-11, Python 3.11); CPU of the client alone, in µs: a 1 KB request at 64 connections; one chunk of a
200-chunk stream, 16 at a time, 3 ms apart. `left`: ms until the upstream sees that a cancelled call is gone.

| client                                     | request | chunk | left   | a kept connection found dead                    |
| ------------------------------------------ | ------- | ----- | ------ | ----------------------------------------------- |
| this one (httptools on asyncio protocols)  | 24      | 14    | 0.3    | told apart, tried again once                    |
| pyreqwest 0.15, used directly              | 41      | 14    | never  | same error as a fresh one that dies             |
| aiohttp 3.14, used directly                | 82      | 22    | 0.5    | same error as a fresh one that dies             |
| pyreqwest's httpx transport, called direct | 149     | (14)  | never  | same; a stream comes as one piece, at its end   |
| httpx-aiohttp's transport, called direct   | 241     | 23    | 0.4    | reported as a connect time-out                  |
| httpx 0.28                                 | 2300    | 54    | 0.5    | same error as a fresh one that dies             |

pyreqwest kept the connection of a cancelled call for as long as we watched (8 s), before the head and after it, so the
engine would go on generating: out of the question here. Not measured: TLS (OpenSSL on the event loop) against rustls.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from math import inf
from typing import Protocol

import httpx

from gateway.core.passing import Sending
from gateway.providers.http_encoding import Inflated
from gateway.providers.http_errors import (
    ConnectFailed,
    ConnectTimeout,
    Disconnected,
    HttpError,
    PoolFull,
    ReadTimeout,
)
from gateway.providers.http_pool import Limits, Pool
from gateway.providers.http_request import METHODS, Headers, Where, request_bytes, request_head, where_of
from gateway.providers.http_sending import send_body


class HttpReply(Protocol):
    """A reply whose status and headers are in. Whoever has one must `aclose` it on every path; twice does no harm."""

    status: int
    headers: dict[str, str]
    read_timeout: float
    """Seconds that each `read` may wait. May be changed between reads."""
    deadline: float
    """Loop time after which no `read` waits any longer. May be changed between reads."""
    retried: bool

    async def read(self) -> bytes:
        """What has come of the body since the last read, joined; waits for some. Empty at the end of a whole body."""
        ...

    async def drain(self) -> None:
        """Instead of `aclose`, when the reader has all it wants and the reply is about to end: keeps the connection."""
        ...

    async def aclose(self) -> None: ...


class HttpClient:
    """Requests without redirects, cookies, environment proxies or compression; TLS always verified.

    `read_timeout` bounds the wait for the head and each read; a POST is sent again only when a connection that had
    served before died without giving a single byte, once, on a fresh connection. A transport handed in does not say
    whether a connection was reused: then nothing is sent twice here.
    """

    def __init__(
        self,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        limits: Limits = Limits(),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._transport = transport
        self._limits = limits
        self._tls = tls
        self._pool: Pool | None = None
        self._proxied: dict[str, HttpClient] = {}

    def through(self, proxy: str) -> HttpClient:
        """A client that goes through an HTTP proxy; one for each proxy, closed with this one. Slower: it is httpx's own."""
        if proxy not in self._proxied:
            most = httpx.Limits(max_connections=self._limits.connections, max_keepalive_connections=self._limits.idle)
            transport = httpx.AsyncHTTPTransport(proxy=proxy, limits=most, trust_env=False)
            self._proxied[proxy] = HttpClient(transport=transport, limits=self._limits)
        return self._proxied[proxy]

    async def send(
        self,
        method: str,
        url: str,
        headers: Headers,
        body: bytes | Sending,
        *,
        connect_timeout: float,
        read_timeout: float,
        deadline: float = inf,
    ) -> HttpReply:
        """Gives the reply once its head is in. Raises HttpError, and what the pieces of a `Sending` raise. Cancelling drops
        the connection at once."""
        if method not in METHODS:
            raise ValueError(f"method {method!r} is not one of {', '.join(sorted(METHODS))}")
        reply: HttpReply
        if self._transport is not None:
            request = _for_httpx(method, url, headers, body, connect_timeout, read_timeout)
            reply = await _over(self._transport, request, read_timeout, deadline)
        elif isinstance(body, Sending):
            reply = await self._streamed(method, url, headers, body, connect_timeout, read_timeout, deadline)
        else:
            reply = await self._over_pool(method, url, headers, body, connect_timeout, read_timeout, deadline)
        if reply.headers.get("content-encoding", "identity") != "identity":
            return await Inflated.of(reply)
        return reply

    async def aclose(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()
        if self._transport is not None:
            await self._transport.aclose()
        for client in self._proxied.values():
            await client.aclose()

    @property
    def connections(self) -> int:
        """Open connections of our own pool; for gauges and tests."""
        return self._pool.open if self._pool is not None else 0

    @property
    def idle(self) -> int:
        """Those of them that wait for a next request."""
        return self._pool.idle if self._pool is not None else 0

    def _ways(self, where: Where) -> tuple[Pool, ssl.SSLContext | None]:
        if where.origin.tls and self._tls is None:
            self._tls = httpx.create_ssl_context()
            self._tls.set_alpn_protocols(["http/1.1"])
        if self._pool is None:
            self._pool = Pool(self._limits)
        return self._pool, self._tls if where.origin.tls else None

    async def _streamed(
        self, method: str, url: str, headers: Headers, body: Sending, connect: float, read: float, deadline: float
    ) -> HttpReply:
        """On a fresh connection: what was sent of such a body cannot be sent again, so it must not meet a dead one."""
        where = where_of(url)
        head = request_head(method, where, headers, body.length)
        pool, tls = self._ways(where)
        connection = await pool.take(where.origin, tls, connect, fresh=True)
        reply = connection.begin(head, read)
        reply.deadline = deadline
        try:
            await send_body(connection, reply, body, read, deadline)
            await reply.head()
            return reply
        except BaseException:
            reply.drop()
            raise

    async def _over_pool(
        self, method: str, url: str, headers: Headers, body: bytes, connect: float, read: float, deadline: float
    ) -> HttpReply:
        where = where_of(url)
        data = request_bytes(method, where, headers, body)
        pool, tls = self._ways(where)
        fresh = False
        while True:
            connection = await pool.take(where.origin, tls, connect, fresh=fresh)
            reused = connection.served > 0
            reply = connection.request(data, read)
            reply.deadline = deadline
            reply.retried = fresh
            try:
                await reply.head()
                return reply
            except Disconnected as error:
                if fresh or error.received or not reused:
                    raise
                fresh = True
            except BaseException:
                reply.drop()
                raise


# --- over a transport that was handed in


def _for_httpx(
    method: str, url: str, headers: Headers, body: bytes | Sending, connect: float, read: float
) -> httpx.Request:
    """A request that no httpx client has touched, so none of its default headers and cookies are in it."""
    where_of(url)
    all_headers = [*headers, ("accept-encoding", "identity")]
    if isinstance(body, Sending) and body.length is not None:
        all_headers.append(("content-length", str(body.length)))
    content = body.pieces if isinstance(body, Sending) else body
    times = {"connect": connect, "pool": connect, "read": read, "write": read}
    return httpx.Request(method, url, headers=all_headers, content=content, extensions={"timeout": times})


async def _over(
    transport: httpx.AsyncBaseTransport, request: httpx.Request, read_timeout: float, deadline: float
) -> TransportReply:
    loop = asyncio.get_running_loop()
    connect = request.extensions["timeout"]["connect"]
    try:
        async with asyncio.timeout_at(min(loop.time() + connect + read_timeout, deadline)):
            response = await transport.handle_async_request(request)
    except TimeoutError:
        raise ReadTimeout("the upstream sent nothing in time") from None
    except httpx.TransportError as error:
        raise _translated(error, received=False) from None
    return TransportReply(response, read_timeout, deadline)


def _translated(error: httpx.TransportError, *, received: bool) -> HttpError:
    match error:
        case httpx.ConnectTimeout():
            return ConnectTimeout("no connection to the upstream in time")
        case httpx.PoolTimeout():
            return PoolFull("no connection to the upstream came free in time")
        case httpx.ConnectError() | httpx.ProxyError() | httpx.UnsupportedProtocol():
            return ConnectFailed("cannot connect to the upstream")
        case httpx.TimeoutException():
            return ReadTimeout("the upstream sent nothing in time")
        case _:
            return Disconnected("the upstream closed the connection", received=received)


class TransportReply:
    """A reply that came over an `httpx.AsyncBaseTransport`. Its raw stream is read: decoding is ours (`http_encoding`)."""

    def __init__(self, response: httpx.Response, read_timeout: float, deadline: float) -> None:
        if not isinstance(response.stream, httpx.AsyncByteStream):
            raise TypeError("the transport gave a reply without an asynchronous stream")
        self.status = response.status_code
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        self.read_timeout = read_timeout
        self.deadline = deadline
        self.retried = False
        self._stream = response.stream
        self._pieces: AsyncIterator[bytes] = aiter(response.stream)
        self._closed = False

    async def read(self) -> bytes:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(min(loop.time() + self.read_timeout, self.deadline)):
                async for piece in self._pieces:
                    if piece:
                        return piece
        except TimeoutError:
            raise ReadTimeout("the upstream sent nothing in time") from None
        except httpx.TransportError as error:
            raise _translated(error, received=True) from None
        return b""

    async def drain(self) -> None:
        self.read_timeout = min(self.read_timeout, 0.05)
        with contextlib.suppress(HttpError):
            await self.read()
        await self.aclose()

    async def aclose(self) -> None:
        """A second at most: some transports read a reply to its end before they let go of it."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(TimeoutError, httpx.TransportError):
            async with asyncio.timeout(1.0):
                await self._stream.aclose()
