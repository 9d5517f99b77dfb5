"""The load generator's HTTP/1.1 client: one keep-alive connection, one request in flight, as little work as Python allows.

No coroutine runs per request: bytes go out, the parser eats what comes back, and a callback gets the reply.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked", re.IGNORECASE)
_MAX_HEAD = 64 * 1024


@dataclass(slots=True)
class Reply:
    """One HTTP reply. `error` is empty when the reply was read to its end; `first` is when its first body byte came."""

    status: int = 0
    body: bytearray = field(default_factory=bytearray)
    started: float = 0.0
    first: float = 0.0
    ended: float = 0.0
    error: str = ""


class ReplyParser:
    """Incremental parser of one reply with a Content-Length or chunked body; `feed` is True once it is complete.

    Raises ValueError on what is not HTTP/1.1. A body that ends with the connection is not accepted as complete:
    then nobody could tell a cut answer from a whole one.
    """

    def __init__(self) -> None:
        self.status = 0
        self.body = bytearray()
        self._head = bytearray()
        self._left = -1  # bytes still to come of the body, or of the present chunk with its CRLF
        self._chunked = False
        self._line = bytearray()
        self._last = False

    def feed(self, data: bytes) -> bool:
        if self.status:
            return self._feed_body(data)
        self._head += data
        end = self._head.find(b"\r\n\r\n")
        if end < 0:
            if len(self._head) > _MAX_HEAD:
                raise ValueError("reply head over 64 KiB")
            return False
        head, rest = bytes(self._head[: end + 2]), bytes(self._head[end + 4 :])
        if not head.startswith(b"HTTP/1."):
            raise ValueError("not an HTTP/1 reply")
        self.status = int(head[9:12])
        self._chunked = _CHUNKED.search(head) is not None
        if not self._chunked:
            length = _LENGTH.search(head)
            if length is None:
                raise ValueError("reply without length")
            self._left = int(length[1])
        return self._feed_body(rest)

    def _feed_body(self, data: bytes) -> bool:
        if self._chunked:
            return self._feed_chunks(data)
        self.body += data
        return len(self.body) >= self._left

    def _feed_chunks(self, data: bytes) -> bool:
        at, size = 0, len(data)
        while at < size:
            if self._left > 0:
                take = min(self._left, size - at)
                # The CRLF after a chunk is counted in _left and kept out of the body.
                keep = max(0, min(take, self._left - 2))
                self.body += data[at : at + keep]
                self._left -= take
                at += take
                continue
            newline = data.find(b"\n", at)
            if newline < 0:
                self._line += data[at:]
                return False
            line = bytes(self._line) + data[at:newline]
            self._line.clear()
            at = newline + 1
            if self._last:
                if not line.strip():
                    return True
                continue
            chunk = int(line.split(b";")[0], 16)
            self._last = chunk == 0
            self._left = chunk + 2 if chunk else 0
        return False


class Connection(asyncio.Protocol):
    """A keep-alive connection. `send` while idle; `on_reply(self, reply)` is called once for every `send`."""

    def __init__(self, on_reply: Callable[[Connection, Reply], None]) -> None:
        self._on_reply = on_reply
        self._transport: asyncio.Transport | None = None
        self._parser = ReplyParser()
        self._reply: Reply | None = None
        self.expected = b""

    @property
    def open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast, not an assert: uvloop's transports are not registered as asyncio.Transport.
        self._transport = cast(asyncio.Transport, transport)

    def send(self, request: bytes, expected: bytes) -> None:
        assert self._transport is not None
        self.expected = expected
        self._parser = ReplyParser()
        self._reply = Reply(started=time.perf_counter())
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        reply = self._reply
        if reply is None:
            self.close()
            return
        try:
            done = self._parser.feed(data)
        except ValueError as problem:
            self.close()
            self._end(f"bad reply: {problem}")
            return
        if not reply.first and self._parser.body:
            reply.first = time.perf_counter()
        if done:
            self._end("")

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._end("connection lost")

    def give_up(self) -> None:
        """End the request in flight as timed out, and close."""
        self.close()
        self._end("timed out")

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _end(self, error: str) -> None:
        reply, self._reply = self._reply, None
        if reply is None:
            return
        reply.ended = time.perf_counter()
        reply.status, reply.body, reply.error = self._parser.status, self._parser.body, error
        self._on_reply(self, reply)
