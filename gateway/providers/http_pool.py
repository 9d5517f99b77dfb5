"""Connections kept between requests, per origin, in bounds.

An idle connection is watched by the event loop, so one that the upstream closes leaves the pool at once. What stays
is a race: the upstream closes just as we write. Only a connection that was used before can lose it, so the pool says
which those are (`Connection.served`), and the client tries once more on a fresh one.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from functools import partial
from typing import NamedTuple

import msgspec

from gateway.providers.http_connection import Connection
from gateway.providers.http_errors import ConnectFailed, ConnectTimeout, PoolFull


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of a client. `connections` and `waiting` are per origin; `idle` is how many are kept, `idle_for` seconds."""

    connections: int = 1024
    waiting: int = 1024
    idle: int = 128
    idle_for: float = 30.0
    origins: int = 1024


class Origin(NamedTuple):
    """Where a connection goes."""

    host: str
    port: int
    tls: bool


class _Place:
    """What the pool holds for one origin. `open` counts connections being made, too."""

    __slots__ = ("idle", "open", "waiting")

    def __init__(self) -> None:
        self.open = 0
        self.idle: deque[Connection] = deque()
        self.waiting: deque[asyncio.Future[None]] = deque()


class Pool:
    """Bound to the event loop it was made in."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._places: dict[Origin, _Place] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._all: set[Connection] = set()

    async def take(
        self, origin: Origin, tls: ssl.SSLContext | None, timeout: float, *, fresh: bool = False
    ) -> Connection:
        """A connection for one request: an idle one, unless `fresh`, or a new one as soon as there may be one.

        Of idle ones the newest is taken, so that the others grow old and go. Raises ConnectTimeout, ConnectFailed,
        PoolFull. The connection comes back by itself when its reply was read to the end.
        """
        expires = self._loop.time() + timeout
        while True:
            place = self._place(origin)
            if place.idle:
                if not fresh:
                    connection = place.idle.pop()
                    if connection.usable:
                        return connection
                    connection.abort()
                    continue
                if place.open >= self._limits.connections:
                    place.idle[0].abort()  # makes room
            if place.open < self._limits.connections:
                return await self._make(origin, place, tls, expires - self._loop.time())
            await self._turn(place, expires - self._loop.time())

    def close(self) -> None:
        """Drops every connection, those in use too."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for connection in list(self._all):
            connection.abort()

    @property
    def open(self) -> int:
        """Connections that exist or are being made; for gauges and tests."""
        return sum(place.open for place in self._places.values())

    @property
    def idle(self) -> int:
        return sum(len(place.idle) for place in self._places.values())

    async def _turn(self, place: _Place, timeout: float) -> None:
        """Queues until a connection came free or ended. Another may be faster to take it: then one queues again."""
        if len(place.waiting) >= self._limits.waiting:
            raise PoolFull(f"{place.open} connections in use and {len(place.waiting)} requests waiting for one")
        waiter = self._loop.create_future()
        place.waiting.append(waiter)
        try:
            async with asyncio.timeout(timeout):
                await waiter
        except BaseException as error:
            if waiter in place.waiting:
                place.waiting.remove(waiter)
            else:
                self._wake(place)  # our turn came while we were leaving: it is the next one's
            if isinstance(error, TimeoutError):
                raise ConnectTimeout("no connection to the upstream came free in time") from None
            raise

    async def _make(self, origin: Origin, place: _Place, tls: ssl.SSLContext | None, timeout: float) -> Connection:
        connection = Connection(self._loop, partial(self._free, place), partial(self._lost, origin, place))
        place.open += 1
        self._all.add(connection)
        made = False
        try:
            async with asyncio.timeout(timeout):
                await self._loop.create_connection(lambda: connection, origin.host, origin.port, ssl=tls)
            made = True
        except TimeoutError:
            raise ConnectTimeout("no connection to the upstream in time") from None
        except ssl.SSLError as error:
            raise ConnectFailed(f"TLS with the upstream failed: {error.reason or type(error).__name__}") from None
        except OSError as error:
            raise ConnectFailed(f"cannot connect to the upstream: {error.strerror or type(error).__name__}") from None
        finally:
            if not made:
                connection.abort()
        if not made:
            raise ConnectFailed("the upstream closed the connection as soon as it was made")
        return connection

    def _place(self, origin: Origin) -> _Place:
        place = self._places.get(origin)
        if place is None:
            if len(self._places) >= self._limits.origins:
                raise PoolFull(f"connections to {len(self._places)} different upstreams are open")
            place = self._places[origin] = _Place()
        return place

    def _free(self, place: _Place, connection: Connection) -> None:
        place.idle.append(connection)
        if len(place.idle) > self._limits.idle:
            place.idle[0].abort()
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(self._limits.idle_for, self._sweep)
        self._wake(place)

    def _lost(self, origin: Origin, place: _Place, connection: Connection) -> None:
        self._all.discard(connection)
        if connection in place.idle:
            place.idle.remove(connection)
        place.open -= 1
        if place.waiting:
            self._wake(place)
        elif not place.open and self._places.get(origin) is place:
            del self._places[origin]

    def _wake(self, place: _Place) -> None:
        while place.waiting:
            waiter = place.waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _sweep(self) -> None:
        """Ends what has been idle too long, and looks again while anything is idle."""
        self._sweeper = None
        oldest = self._loop.time() - self._limits.idle_for
        for place in list(self._places.values()):
            while place.idle and place.idle[0].idle_since <= oldest:
                place.idle[0].abort()
        if any(place.idle for place in self._places.values()):
            self._sweeper = self._loop.call_later(self._limits.idle_for / 2, self._sweep)
