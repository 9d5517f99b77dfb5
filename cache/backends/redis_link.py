"""One connection to Redis for a whole process: commands of all tasks in one pipeline.

redis-py's pool gives each command a connection, a lock and a StreamReader of its own. Measured with 64 tasks on one
core, 1 KB values: pool 52 µs of CPU a GET (40 with uvloop), a multiplexed `redis.asyncio.Connection` 14 (12), this 4 (3).
Redis answers in order, so a queue of futures is all the bookkeeping there is.

A command has a budget, not a retry: past it the caller goes on without Redis. After a few failures in a row nothing is
sent for a while (`Breaker`); then one command tries again, over a fresh connection if the old one is gone.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Mapping
from typing import Any, cast

from redis.asyncio.connection import parse_url

from cache.backends.resp import ProtocolError, Reply, ReplyError, Value, decode, encode
from cache.stores import StoreDown
from gateway.core.breaker import Breaker
from gateway.core.clock import Clock

_MAX_PENDING = 10_000
_MAX_UNSENT = 16 * 1024 * 1024
_STALE = 1.0
"""Seconds without an answer after which a connection is given up: its peer may be gone without having said so."""


class _Wire(asyncio.Protocol):
    """One connection. Replies go to `pending` in order; those whose caller has gone are dropped."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.pending: deque[tuple[asyncio.Future[Value], float]] = deque()
        self.closed = False
        self._transport: asyncio.Transport | None = None
        self._unsent: list[bytes] = []
        self._data = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but name

    def send(self, command: bytes) -> asyncio.Future[Value]:
        """All commands of one turn of the event loop leave in one write."""
        transport = self._transport
        if self.closed or transport is None:
            raise StoreDown("connection_lost")
        if len(self.pending) >= _MAX_PENDING or transport.get_write_buffer_size() > _MAX_UNSENT:
            raise StoreDown("overloaded")
        if not self._unsent:
            self.loop.call_soon(self._flush)
        self._unsent.append(command)
        future: asyncio.Future[Value] = self.loop.create_future()
        self.pending.append((future, self.loop.time()))
        return future

    def expire(self, future: asyncio.Future[Value]) -> None:
        """The caller's budget is spent. The reply, should it come, is dropped. (asyncio and uvloop both read sockets
        before they run timers, so a loop that stood still does not time out replies that have arrived.)"""
        if not future.done():
            future.set_exception(StoreDown("timeout"))
        if self.pending and self.loop.time() - self.pending[0][1] > _STALE:
            self.abort()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
        self.connection_lost(None)

    def data_received(self, data: bytes) -> None:
        buffer = self._data
        buffer += data
        at = 0
        try:
            while at < len(buffer):
                reply = decode(buffer, at)
                if reply is None:
                    break
                value, at = reply
                self._deliver(value)
        except ProtocolError:
            self.abort()
        del buffer[:at]

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        while self.pending:
            future, _ = self.pending.popleft()
            if not future.done():
                future.set_exception(StoreDown("connection_lost"))

    def _deliver(self, reply: Reply) -> None:
        if not self.pending:
            raise ProtocolError("a reply to nothing")
        future, _ = self.pending.popleft()
        if future.done():
            return
        if isinstance(reply, Exception):
            future.set_exception(reply)
        else:
            future.set_result(reply)

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        if self._transport is not None and not self.closed:
            self._transport.write(b"".join(unsent))


class RedisLink:
    """`call(b"GET", key)`. Connects on first use, and again when it must. For one event loop."""

    def __init__(self, url: str, clock: Clock, *, budget: float = 0.05, connect_timeout: float = 2.0) -> None:
        """`url`: `redis://[[user]:password@]host[:port][/db]`, `rediss://` for TLS, `unix://path`; options in the query
        as redis-py has them. Raises ValueError for any other."""
        self._address: dict[str, Any] = dict(parse_url(url))
        self._budget = budget
        self._connect_timeout = connect_timeout
        self._breaker = Breaker(clock)
        self._wire: _Wire | None = None
        self._connecting: asyncio.Task[_Wire] | None = None
        self._connects = 0
        self._failures = 0

    async def call(self, *words: bytes | str | int, budget: float | None = None) -> Value:
        """The reply of one command. Raises StoreDown within `budget` seconds (a slow connect included), ReplyError
        with code NOSCRIPT as it is; any other error reply is a StoreDown too."""
        if not self._breaker.admits():
            raise StoreDown("breaker_open")
        budget = budget or self._budget
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            value = await self._ask(encode(*words), budget)
        except ReplyError as error:
            if error.code == "NOSCRIPT":
                self._breaker.succeeded()
                raise
            self._failed()
            raise StoreDown(error.code) from None
        except StoreDown:
            self._failed()
            raise
        except BaseException:
            if loop.time() - began > budget * 0.8:  # not a client who left: a caller with a time-out of its own
                self._failed()
            else:
                self._breaker.abandoned()
            raise
        self._breaker.succeeded()
        return value

    async def close(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        if self._wire is not None:
            self._wire.abort()
            self._wire = None

    def stats(self) -> Mapping[str, float]:
        wire = self._wire
        return {
            "connected": float(wire is not None and not wire.closed),
            "breaker_open": float(self._breaker.open),
            "pending": len(wire.pending) if wire is not None else 0,
            "connects": self._connects,
            "failures": self._failures,
        }

    def _failed(self) -> None:
        self._failures += 1
        self._breaker.failed()

    async def _ask(self, command: bytes, budget: float) -> Value:
        wire = self._wire
        if wire is None or wire.closed:
            started = asyncio.get_running_loop().time()
            wire = await self._connected(budget)
            budget = max(0.001, budget - (wire.loop.time() - started))
        future = wire.send(command)
        timer = wire.loop.call_later(budget, wire.expire, future)
        try:
            return await future
        finally:
            timer.cancel()

    async def _connected(self, budget: float) -> _Wire:
        """Waits for the connection for at most `budget`; the attempt itself goes on, for whoever asks next."""
        task = self._connecting
        if task is None or task.done():
            task = self._connecting = asyncio.create_task(self._connect(), name="redis-connect")
            task.add_done_callback(_look)
        await asyncio.wait({task}, timeout=budget)
        if not task.done():
            raise StoreDown("connecting")
        if task.cancelled():
            raise StoreDown("closed")
        if task.exception() is not None:
            raise StoreDown("connect_failed")
        return task.result()

    async def _connect(self) -> _Wire:
        address = self._address
        loop = asyncio.get_running_loop()
        wire: _Wire | None = None
        try:
            async with asyncio.timeout(self._connect_timeout):
                if "path" in address:
                    _, wire = await loop.create_unix_connection(_Wire, address["path"])
                else:
                    host, port = address.get("host", "localhost"), address.get("port", 6379)
                    tls = tls_of(address)
                    named = address.get("host", "localhost") if tls is not None else None
                    _, wire = await loop.create_connection(_Wire, host, port, ssl=tls, server_hostname=named)
                for command in _greeting(address):
                    await wire.send(command)
        except BaseException:
            if wire is not None:
                wire.abort()
            raise
        self._wire = wire
        self._connects += 1
        return wire


def tls_of(address: Mapping[str, Any]) -> ssl.SSLContext | None:
    """For `rediss://`. Verified unless the URL says `ssl_cert_reqs=none`; `ssl_ca_certs`, `ssl_certfile` and
    `ssl_keyfile` name files."""
    if "SSL" not in getattr(address.get("connection_class"), "__name__", ""):
        return None
    context = ssl.create_default_context(cafile=address.get("ssl_ca_certs"))
    if address.get("ssl_certfile"):
        context.load_cert_chain(address["ssl_certfile"], address.get("ssl_keyfile"))
    if address.get("ssl_cert_reqs") == "none":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _greeting(address: Mapping[str, Any]) -> list[bytes]:
    """What a fresh connection says first. The PING tells a server that takes connections from one that answers."""
    commands = []
    if address.get("password"):
        user = [address["username"]] if address.get("username") else []
        commands.append(encode("AUTH", *user, address["password"]))
    if address.get("db"):
        commands.append(encode("SELECT", address["db"]))
    return [*commands, encode("PING")]


def _look(task: asyncio.Task[_Wire]) -> None:
    """Takes note of the outcome, so that a failed attempt nobody waits for is not reported as forgotten."""
    if not task.cancelled():
        task.exception()
