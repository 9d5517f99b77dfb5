"""One HTTP connection: uvicorn's protocol with the bounds it lacks, and JSON for what never becomes a request.

What is bounded: the head in bytes and in seconds, and how long a client may take nothing of what is sent to it. What is
not HTTP, or breaks a bound, gets one JSON error that clients of every dialect can read, and the connection is over.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from http import HTTPStatus

import httptools
import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from gateway.http.asgi import GONE, Hangup, hangup_of

_LINGER = 1.0
"""Seconds in which what a refused client still sends is thrown away. Closing with unread bytes would reset the
connection, and the client might lose the error that it is about to read."""
_USER_TIMEOUT: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)

Rejected = Callable[[str], None]
"""Told why something never became an exchange, in one word: `headers_too_large`, `headers_too_slow`, `invalid_http`,
`not_found`, `method_not_allowed` and the names of other faults."""


class Bounds(msgspec.Struct, frozen=True):
    """`header_bytes`: of a request's first line and headers. `header_seconds`: for them to arrive. `stall_seconds`: how
    long a client may take nothing of what is sent before it counts as gone; only Linux can tell."""

    header_bytes: int = 32 * 1024
    header_seconds: float = 10.0
    stall_seconds: float = 60.0


def guarded(bounds: Bounds, rejected: Rejected) -> type[HttpToolsProtocol]:
    """The protocol class for one server."""

    class GuardedProtocol(HttpToolsProtocol):
        """One connection. A request that breaks a bound gets its status and the connection is closed."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._refused = False
            self._heading = False
            self._seen = 0
            self._cycles: list[RequestResponseCycle] = []
            self._timer: asyncio.TimerHandle | None = None
            _limit_stalls(transport, bounds.stall_seconds)
            self._arm()

        def connection_lost(self, exc: Exception | None) -> None:
            self._disarm()
            super().connection_lost(exc)
            for cycle in self._open():  # super tells the last one only; those before a pipelined one have lost it too
                cycle.disconnected = True
                cycle.message_event.set()
                hangup = hangup_of(cycle.scope)
                if hangup is not None:
                    hangup.happen()

        def data_received(self, data: bytes) -> None:
            if self._refused:
                return
            self._seen += len(data)
            self._unset_keepalive_if_required()
            self._feed(data)
            if self._heading and self._seen > bounds.header_bytes:
                self._refuse(431, "headers_too_large", f"the limit is {bounds.header_bytes} bytes")

        def _feed(self, data: bytes) -> None:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as offer:
                self._decline(data[offer.args[0] :])
            except httptools.HttpParserError:
                if not self._refused:
                    self._refuse(400, "invalid_http", "this is not a valid HTTP/1.1 request")

        def _decline(self, rest: bytes) -> None:
            """An offer of another protocol is declined by answering as if it was not there (RFC 9110, 7.8): Java's client
            makes one with each call. The parser stops at it with the body unread, so a fresh one reads the head again,
            without the offer."""
            head = _without_offer(self.parser.get_method(), self.url, self.headers)
            self.parser = httptools.HttpRequestParser(self)
            self._feed(head + rest)

        def on_message_begin(self) -> None:
            self._heading = True
            self._arm()
            super().on_message_begin()
            self.scope["extensions"] = {GONE: Hangup(self.flow.resume_reading)}  # type: ignore[typeddict-item, dict-item]

        def on_headers_complete(self) -> None:
            if self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT":
                return  # see `_decline`
            self._heading = False
            self._seen = 0
            self._disarm()
            if self._refused:
                return
            size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
            if size > bounds.header_bytes:
                self._refuse(431, "headers_too_large", f"the limit is {bounds.header_bytes} bytes")
                return
            super().on_headers_complete()
            self._cycles = [*self._open(), self.cycle]

        def on_body(self, body: bytes) -> None:
            if not self._refused:
                super().on_body(body)

        def on_message_complete(self) -> None:
            self._seen = 0
            if not self._refused and not self._heading:
                super().on_message_complete()
                if len(self._open()) == 1:  # a large body has paused reading, and nobody sees a client leave meanwhile
                    self.flow.resume_reading()

        def _open(self) -> list[RequestResponseCycle]:
            return [cycle for cycle in self._cycles if not cycle.response_complete]

        def _arm(self) -> None:
            if self._timer is None:
                self._timer = self.loop.call_later(bounds.header_seconds, self._late)

        def _disarm(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _late(self) -> None:
            self._timer = None
            if self._heading:
                self._refuse(408, "headers_too_slow", f"they must arrive within {bounds.header_seconds:g} s")
            elif self.cycle is None and self.transport is not None:
                self.transport.close()  # nothing was ever asked on this connection

        def _refuse(self, status: int, code: str, why: str) -> None:
            """No more of this connection is read. An answer under way goes on to its end: nothing is written into it."""
            self._refused = True
            rejected(code)
            under_way = self._open()
            for cycle in under_way:
                cycle.keep_alive = False
            if under_way and (len(under_way) > 1 or not under_way[0].more_body):
                return
            self.transport.write(_refusal(status, code, why))
            for cycle in under_way:  # its body will never be whole
                cycle.disconnected = True
                cycle.message_event.set()
            if self.transport.can_write_eof():
                self.transport.write_eof()
            self.loop.call_later(_LINGER, self.transport.close)

    return GuardedProtocol


def _without_offer(method: bytes, url: bytes, headers: list[tuple[bytes, bytes]]) -> bytes:
    """A request's head again. Its parts were parsed, so none of them can hold a line break."""
    kept = [(name, value) for name, value in headers if name not in (b"upgrade", b"connection", b"http2-settings")]
    if any(name == b"connection" and b"close" in value.lower() for name, value in headers):
        kept.append((b"connection", b"close"))
    lines = b"".join(b"%s: %s\r\n" % pair for pair in kept)
    return b"%s %s HTTP/1.1\r\n%s\r\n" % (method, url, lines)


def _refusal(status: int, code: str, why: str) -> bytes:
    """A whole response. Nobody knows the dialect yet, so the body is an error in OpenAI's shape and in Anthropic's."""
    phrase = HTTPStatus(status).phrase
    error = {"type": "invalid_request_error", "message": f"{phrase}: {why}.", "param": None, "code": code}
    body = msgspec.json.encode({"type": "error", "error": error, "request_id": None})
    head = (
        f"HTTP/1.1 {status} {phrase}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body


def _limit_stalls(transport: asyncio.Transport, seconds: float) -> None:
    """Lets the kernel end a connection whose peer acknowledges nothing, or takes nothing, for so long."""
    sock = transport.get_extra_info("socket")
    if _USER_TIMEOUT is not None and sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, _USER_TIMEOUT, int(seconds * 1000))
