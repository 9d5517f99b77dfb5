"""Coalescing: while one request's answer is being made, identical ones wait for it and do not call a model themselves.

Identical means the whole key of the exact cache: same owner, same rules, same body. One **leads**: it goes on to the
model. The others **follow**: they wait, each under its own deadline and with its own limits, until the tap hands over the
leader's whole, checked, still masked answer, and are then served as from the cache.

- A leader that ends without an answer hands over to the follower that waited longest; the others wait on. Errors are not
  shared. After `MOST_FAILURES` leaders that were not merely left by their clients, all go on by themselves.
- An answer that may not be stored may not be shared either: all go on by themselves at once.
- A follower waits for half of its remaining time at most, then asks a model itself: it should not fail because another
  is slow.

Each process has its own leader; where the exact cache is in Redis, one of these leads for all (`shared`). Followers of a
stream get the answer when it is whole, not piece by piece.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from cache.key import exact_id
from cache.notes import EXACT, ExactNote
from cache.record import unpack
from cache.shared import MOST_FAILURES, Elsewhere, Told
from gateway.core.answer import Answer
from gateway.core.exchange import CacheNote, Exchange
from gateway.core.facts import Key

MOST_FLIGHTS = 4096
MOST_FOLLOWERS = 1024
"""Of one leader. Beyond either bound a request goes on by itself, as without coalescing."""
PATIENCE = 0.5
"""Share of its remaining time that a follower waits."""


class Flight:
    """One answer in the making. `waiting`: those who follow, longest first. `data`: the packed answer, once it is there,
    kept until the store has it."""

    __slots__ = ("data", "failures", "leader", "waiting")

    def __init__(self, leader: Exchange) -> None:
        self.leader = leader
        self.waiting: dict[Exchange, asyncio.Future[Told]] = {}
        self.failures = 0
        self.data: bytes | None = None


class Flights:
    """All answers in the making of one route. Everything here runs on the event loop and never waits, so no lock."""

    def __init__(self, elsewhere: Elsewhere | None = None) -> None:
        self.elsewhere = elsewhere
        self._by_key: dict[str, Flight] = {}
        self._followers = 0
        self.coalesced = 0
        """Requests that were answered by another's answer."""
        self.handovers = 0

    def join(self, key: str, exchange: Exchange) -> asyncio.Future[Told] | bytes | None:
        """None: go on, leading or by yourself. Bytes: the packed answer, just made. A future: follow, and await it."""
        flight = self._by_key.get(key)
        if flight is None:
            if len(self._by_key) < MOST_FLIGHTS:
                self._by_key[key] = Flight(exchange)
                exchange.cleanup.append(lambda: self.left(key, exchange))
            return None
        if flight.data is not None:
            return flight.data
        if len(flight.waiting) >= MOST_FOLLOWERS:
            return None
        future: asyncio.Future[Told] = asyncio.get_running_loop().create_future()
        flight.waiting[exchange] = future
        self._followers += 1
        exchange.cleanup.append(lambda: self.left(key, exchange))
        return future

    def left(self, key: str, exchange: Exchange) -> None:
        """An exchange ended, or will wait no longer. A leader without an answer hands over."""
        flight = self._by_key.get(key)
        if flight is None:
            return
        if flight.waiting.pop(exchange, None) is not None:
            self._followers -= 1
        elif flight.leader is exchange and flight.data is None:
            flight.failures += _failed(exchange)
            self._hand_over(key, flight)

    def leads(self, key: str, exchange: Exchange) -> bool:
        """Whether others wait, or would, for the answer of `exchange`."""
        flight = self._by_key.get(key)
        return flight is not None and flight.leader is exchange and flight.data is None

    def landed(self, key: str, data: bytes) -> None:
        """The leader's answer: told to all who wait, and kept until `stored`."""
        flight = self._by_key[key]
        flight.data = data
        self._tell_all(flight, data)

    def stored(self, key: str, data: bytes) -> None:
        """The store has the answer, or will never have it."""
        flight = self._by_key.get(key)
        if flight is not None and flight.data is data:
            self._over(key)

    def unshared(self, key: str, exchange: Exchange) -> None:
        """The leader's answer is not for others: all who wait go on by themselves."""
        if self.leads(key, exchange):
            self._tell_all(self._over(key, unshared=True), "alone")

    def stats(self) -> Mapping[str, float]:
        own = {
            "flights": len(self._by_key),
            "followers": self._followers,
            "coalesced": self.coalesced,
            "handovers": self.handovers,
        }
        return {**own, **self.elsewhere.stats()} if self.elsewhere is not None else own

    def _hand_over(self, key: str, flight: Flight) -> None:
        if flight.failures < MOST_FAILURES and flight.waiting:
            heir = next(iter(flight.waiting))
            future = flight.waiting.pop(heir)
            self._followers -= 1
            self.handovers += 1
            flight.leader = heir  # its own clean-up hands over again, should it be gone before it hears of this
            future.set_result("lead")
            return
        self._tell_all(self._over(key, failures=flight.failures), "alone")

    def _over(self, key: str, *, failures: int = 0, unshared: bool = False) -> Flight:
        """Nobody here makes this answer any more; another process may."""
        if self.elsewhere is not None:
            self.elsewhere.end(exact_id(key), failures=failures, unshared=unshared)
        return self._by_key.pop(key)

    def _tell_all(self, flight: Flight, told: Told) -> None:
        self._followers -= len(flight.waiting)
        for future in flight.waiting.values():
            if not future.done():
                future.set_result(told)
        flight.waiting = {}


class Coalesce:
    """Decider, the last before dispatch. Takes part where the exact cache left a note and was really asked."""

    name = "coalesce"
    consumes: tuple[Key[Any], ...] = (EXACT,)
    produces: tuple[Key[Any], ...] = ()

    def __init__(self, flights: Flights) -> None:
        self._flights = flights

    async def decide(self, exchange: Exchange) -> Answer | None:
        note = exchange.facts.get(EXACT)
        if note is None or note.refresh:
            return None
        joined = self._flights.join(note.key, exchange)
        told: Told = "lead"
        if joined is not None:
            told = joined if isinstance(joined, bytes) else await self._wait(joined, note, exchange)
        elsewhere = None if note.down else self._flights.elsewhere
        if told == "lead" and elsewhere is not None and self._flights.leads(note.key, exchange):
            told = await self._lead(elsewhere, note, exchange)
        return self._answer(exchange, note, told) if isinstance(told, bytes) else None

    async def _lead(self, elsewhere: Elsewhere, note: ExactNote, exchange: Exchange) -> Told:
        """This process's leader, before it asks a model: another process may be at it."""
        told, why = await elsewhere.lead(note.id, exchange.remaining() * PATIENCE)
        if why and self.name not in exchange.degraded:
            exchange.degraded.append(self.name)
        if isinstance(told, bytes):
            entry = unpack(told)
            if entry is None or entry.key != note.key:
                return "lead"  # an older gateway's entry; ours will replace it
            self._flights.landed(note.key, told)
            self._flights.stored(note.key, told)
        elif told == "alone":
            self._flights.unshared(note.key, exchange)
        return told

    async def _wait(self, future: asyncio.Future[Told], note: ExactNote, exchange: Exchange) -> Told:
        patience = exchange.remaining() * PATIENCE
        done, _ = await asyncio.wait((future,), timeout=patience)
        if done:
            return future.result()
        self._flights.left(note.key, exchange)
        return "alone"

    def _answer(self, exchange: Exchange, note: ExactNote, data: bytes) -> Answer | None:
        """Unpacked anew for each: events of one exchange may be changed on their way out."""
        entry = unpack(data)
        if entry is None or entry.key != note.key:
            return None
        self._flights.coalesced += 1
        age = max(0.0, exchange.clock.wall() / 1e9 - entry.created)
        exchange.cache = CacheNote(result="hit", reason="coalesced", id=note.id, age=age, saved=entry.response.usage)
        return Answer("cached", response=entry.response)


def _failed(exchange: Exchange) -> int:
    """1 when models were asked and failed; 0 for a leader that was cut short: nothing is known against the answer."""
    return 1 if exchange.attempts and exchange.attempts[-1].outcome != "cancelled" else 0
