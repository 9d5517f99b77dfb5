"""One HTTP/1.1 connection and the rule by which it may be used again.

The parser is llhttp (through httptools, which the server uses too), strict: it refuses what request smuggling
is made of. Everything else is bookkeeping.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from math import inf
from typing import cast

import httptools

from gateway.providers.http_errors import BadReply, Disconnected, ReadTimeout
from gateway.providers.http_reply import HIGH_WATER, WireReply

MAX_OVERHEAD = 64 * 1024
"""Bytes in a row that are not body: a head, trailers, chunk extensions."""
_TICK = 0.001
"""The event loop's timers and clock are good to a millisecond (uvloop)."""


class Connection(asyncio.Protocol):
    """One connection, one reply at a time. `on_free` is called when it may be used again, `on_lost` once at its end."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_free: Callable[[Connection], None],
        on_lost: Callable[[Connection], None],
    ) -> None:
        self.loop = loop
        self.served = 0
        """Replies read to their end."""
        self.idle_since = 0.0
        self._on_free = on_free
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._reply: WireReply | None = None
        self._done = False
        self._keep = False
        self._received = False
        self._overhead = 0
        self._paused = False
        self._expires = inf
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = inf
        self._ended = False
        self._sending = False
        """A body is under way; until it is whole, this connection cannot carry another request."""
        self._room: asyncio.Future[None] | None = None

    @property
    def usable(self) -> bool:
        return self._transport is not None and self._reply is None and not self._transport.is_closing()

    def request(self, data: bytes, read_timeout: float) -> WireReply:
        """Writes one request, head and body. The connection must be `usable`."""
        assert self._transport is not None
        assert self._reply is None
        self._reply = reply = WireReply(self, read_timeout)
        self._done = self._received = False
        self._overhead = 0
        self._transport.write(data)
        return reply

    def begin(self, head: bytes, read_timeout: float) -> WireReply:
        """As `request`, for a body that follows by `more`, until `sent`."""
        reply = self.request(head, read_timeout)
        self._sending = True
        return reply

    async def more(self, data: bytes, expires: float) -> None:
        """Writes a piece of the body; returns when there is room for another. Raises TimeoutError at `expires`."""
        if self._transport is None or self._transport.is_closing():
            return  # the reply tells why
        self._transport.write(data)
        if self._room is not None:
            async with asyncio.timeout_at(expires):
                await asyncio.shield(self._room)

    def sent(self) -> None:
        """The body is whole."""
        self._sending = False

    def abandon(self, reply: WireReply) -> None:
        """The reader of `reply` left before its end."""
        if reply is self._reply:
            self.abort()

    def abort(self) -> None:
        """Drops the connection now, without waiting for what is still to be written."""
        self._reply = None
        if self._transport is not None:
            self._transport.abort()
        self._gone()

    def resume(self) -> None:
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()

    # --- time

    def watch(self, expires: float) -> None:
        """The reader waits until `expires`. A timer that fires sooner is left alone and looks again then, so a busy
        connection makes one timer in a time-out and not one a read (which cost as much as the read itself)."""
        self._expires = expires
        if self._timer_at > expires:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = expires
            self._timer = self.loop.call_at(expires, self._look)

    def _look(self) -> None:
        self._timer, self._timer_at = None, inf
        reply = self._reply
        if reply is None or not (reply.waiting or reply.lingering):
            return
        if self.loop.time() + _TICK < self._expires:
            self.watch(self._expires)
            return
        reply.fail(ReadTimeout("the upstream sent nothing in time"))
        self.abort()

    # --- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one by shape only
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def data_received(self, data: bytes) -> None:
        reply = self._reply
        if reply is None:
            self.abort()  # bytes that nobody asked for: whatever they are, the next reply must not begin with them
            return
        self._received = True
        self._overhead += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self._done:
                reply.fail(BadReply(f"the upstream's reply is not valid HTTP/1.1: {type(error).__name__}"))
            self._keep = False
        if self._reply is not reply:
            return
        if self._done or not self._keep:
            self._settle(reply)
        elif self._overhead > MAX_OVERHEAD:
            reply.fail(BadReply(f"more than {MAX_OVERHEAD} bytes of head or framing without any body"))
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        reply, self._reply = self._reply, None
        self._transport = None
        if reply is not None:
            if exc is None and reply.headed and not reply.length_known:
                reply.finish()  # a body without a length ends with the connection
            else:
                reply.fail(Disconnected("the upstream closed the connection", received=self._received))
        self._gone()

    def _gone(self) -> None:
        self.resume_writing()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._ended:
            self._ended = True
            self._on_lost(self)

    def pause_writing(self) -> None:
        if self._room is None:
            self._room = self.loop.create_future()

    def resume_writing(self) -> None:
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    # --- httptools

    def on_message_begin(self) -> None:
        self._keep = not self._done  # a second message where one was asked for

    def on_header(self, name: bytes, value: bytes) -> None:
        reply = self._reply
        if reply is not None and not reply.headed:
            reply.add_header(name, value)

    def on_headers_complete(self) -> None:
        reply = self._reply
        if reply is None or self._done:
            return
        status = self._parser.get_status_code()
        if status < 200:
            reply.headers.clear()
            return
        reply.status = status
        reply.begin()

    def on_body(self, data: bytes) -> None:
        reply = self._reply
        if reply is None or self._done:
            return
        self._overhead = 0
        waiting = reply.add(data)
        if reply.lingering:
            self._overhead = waiting  # nobody wants it: more than MAX_OVERHEAD of it ends the connection
        elif waiting > HIGH_WATER and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        reply = self._reply
        if reply is None or self._done or not reply.headed:
            return
        self._done = True
        self._keep = self._parser.should_keep_alive()

    def _settle(self, reply: WireReply) -> None:
        """The reply ended, well or badly, and no more of the read that ended it is left."""
        if self._done:
            reply.finish()
        self._reply = None
        self.served += 1
        transport = self._transport
        if not self._done or not self._keep or self._sending or transport is None or transport.get_write_buffer_size():
            self.abort()
            return
        self.resume()
        self.idle_since = self.loop.time()
        self._on_free(self)
