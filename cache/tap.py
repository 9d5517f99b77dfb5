"""The tap: sees the checked, still masked answer go by, and has whole ones stored.

Law: an answer that is incomplete, blocked, truncated, tool-calling, empty, a fallback's, for its client alone, or that
passed a check which did not run, is never stored. A client that leaves ends the stream before `finish`, so nothing is
stored then either.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import msgspec

from cache.notes import EXACT, SEMANTIC, ExactNote, SemanticNote
from cache.record import Entry, pack
from cache.shadow import SHADOW, Shadow
from cache.singleflight import Flights
from cache.stores import ExactStore, Labels, VectorStore
from cache.writer import Job, Writer
from gateway.core.events import Event, Reasoning, Relayed, Text, ToolCall
from gateway.core.exchange import Exchange
from gateway.core.facts import Key
from gateway.core.response import Folder, Response

JITTER = 0.1
"""Of the TTL, either way: entries made together must not all expire together."""

MAX_ANSWER = 1024 * 1024
"""Characters of one answer. A longer one is not stored, and from there on not even collected."""


class Shelf(msgspec.Struct, frozen=True):
    """Where one route's answers are stored, and for how many seconds."""

    exact: ExactStore | None
    exact_ttl: float
    vectors: VectorStore | None
    vector_ttl: float
    flights: Flights | None = None
    """Who waits for an answer that is being made."""
    tags: tuple[str, ...] = ()
    """Of every entry of the route."""
    shadow: Shadow | None = None
    """Who compares an answer with the one that was not served."""


class CacheTap:
    """Transform. Opens only where a lookup left a note."""

    name = "cache_tap"
    produces: tuple[Key[Any], ...] = ()

    def __init__(self, shelf: Shelf, writer: Writer) -> None:
        self._shelf = shelf
        self._writer = writer
        self._rng = random.Random()  # noqa: S311 - spreads expiry, guards nothing
        exact = (EXACT,) if shelf.exact is not None else ()
        self.consumes: tuple[Key[Any], ...] = (*exact, SEMANTIC, SHADOW) if shelf.vectors is not None else exact

    def open(self, exchange: Exchange) -> TapSession | None:
        if exchange.answer is not None:
            return None
        facts = exchange.facts
        if facts.get(EXACT) is None and facts.get(SEMANTIC) is None:
            return None
        return TapSession(self, exchange)

    def store(self, exchange: Exchange, response: Response, size: int) -> None:
        """Queues the writes of one answer that may be stored."""
        created = exchange.clock.wall() / 1e9
        exact, semantic = exchange.facts.get(EXACT), exchange.facts.get(SEMANTIC)
        if exact is not None and self._shelf.exact is not None:
            self._store_exact(
                exchange, self._shelf.exact, exact, Entry(key=exact.key, response=response, created=created), size
            )
        noted = exchange.facts.get(SHADOW)
        if noted is not None and self._shelf.shadow is not None:
            self._writer.offer(2 * size, self._shelf.shadow.job(noted, response))
        if semantic is not None and self._shelf.vectors is not None and not _redacted(exchange):
            labels = self._labels(exchange)
            self._writer.offer(size, self._semantic_job(self._shelf.vectors, semantic, response, created, labels))

    def keep_to_itself(self, exchange: Exchange) -> None:
        """This answer may not be stored, so nobody need wait for it."""
        note, flights = exchange.facts.get(EXACT), self._shelf.flights
        if note is not None and flights is not None:
            flights.unshared(note.key, exchange)

    def _store_exact(self, exchange: Exchange, store: ExactStore, note: ExactNote, entry: Entry, size: int) -> None:
        """Those who wait are told at once, and nobody asks a model between now and when the store has it."""
        flights, ttl = self._shelf.flights, self._jittered(self._shelf.exact_ttl)
        labels = self._labels(exchange)
        data: bytes | None = None
        if flights is not None and flights.leads(note.key, exchange):
            try:
                data = pack(entry)
            except (OverflowError, ValueError):
                flights.unshared(note.key, exchange)
            else:
                flights.landed(note.key, data)

        async def write() -> None:
            try:
                await store.put(note.id, data or pack(entry), ttl, labels)
            finally:
                if flights is not None and data is not None:
                    flights.stored(note.key, data)

        offered = not note.down and self._writer.offer(size, write)
        if not offered and flights is not None and data is not None:
            flights.stored(note.key, data)

    def _semantic_job(
        self, store: VectorStore, note: SemanticNote, response: Response, created: float, labels: Labels
    ) -> Job:
        ttl = self._jittered(self._shelf.vector_ttl)

        async def write() -> None:
            entry = Entry(key=note.partition, response=response, created=created, text=note.text)
            await store.put(note.partition, note.id, note.vector, pack(entry), ttl, labels)

        return write

    def _labels(self, exchange: Exchange) -> Labels:
        tags = dict.fromkeys((*self._shelf.tags, *(tag for tag in exchange.tags if tag)))
        return Labels(exchange.principal.tenant, tuple(tags))

    def _jittered(self, ttl: float) -> float:
        return ttl * self._rng.uniform(1 - JITTER, 1 + JITTER)


class TapSession:
    """Passes every event on as it is, and folds a copy."""

    waiting = False

    def __init__(self, tap: CacheTap, exchange: Exchange) -> None:
        self._tap = tap
        self._exchange = exchange
        self._folder: Folder | None = Folder()
        self._size = 0

    def push(self, event: Event) -> Sequence[Event]:
        folder = self._folder
        if folder is not None:
            kind = type(event)
            if kind is Text or kind is Reasoning:
                self._size += len(event.text)  # type: ignore[attr-defined]
            elif kind is Relayed:
                self._size += len(event.body)  # type: ignore[attr-defined]
            if kind is ToolCall or self._size > MAX_ANSWER:
                self._folder = None  # whatever follows, this answer is not stored
                self._tap.keep_to_itself(self._exchange)
            else:
                folder.add(event)
        return (event,)

    def finish(self) -> Sequence[Event]:
        if self._folder is not None:
            response = self._folder.close()
            if storable(self._exchange, response):
                self._tap.store(self._exchange, response, self._size + 1024)
            else:
                self._tap.keep_to_itself(self._exchange)
        return ()

    async def settle(self) -> Sequence[Event]:
        return ()


def storable(exchange: Exchange, response: Response) -> bool:
    """Whether this answer may be given to somebody who asks again."""
    if not response.complete or exchange.answer is not None:
        return False
    if exchange.unshared:
        return False
    if exchange.plan is None or exchange.served_model not in ("", exchange.plan.alias):
        return False  # a fallback's answer is not what this alias would have said
    if any(verdict.action == "not_scanned" for verdict in exchange.verdicts):
        return False
    if response.relayed is not None:
        return not exchange.revealed  # no check has masked it again
    return bool(response.choices) and all(
        choice.finish == "stop" and choice.text and not choice.calls for choice in response.choices.values()
    )


def _redacted(exchange: Exchange) -> bool:
    """A check took something out of the answer. Right for the same question, too particular for a similar one."""
    return any(verdict.side == "output" and verdict.action == "mask" and verdict.count for verdict in exchange.verdicts)
