"""The last look at the answer of a target that was shown originals, before the caches see it: an answer in which the
route's own masks would still find something is this client's, and no entry may hold it.

Such an answer may say private things that the request did not: a model inside the house knows the house. What the client
may read of that is for the output checks to say; this only keeps it from other readers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.core.events import Event, Extra, Reasoning, Text, Unknown
from gateway.core.exchange import Exchange
from gateway.core.facts import Key
from guardrails.answered.tracks import MAX_HELD
from guardrails.answered.unknown import strings
from guardrails.finding.scanner import Scanner


class Unshared:
    """Transform, of routes with a cache. Interested only where originals were sent."""

    name = "unshared"
    consumes: tuple[Key[Any], ...] = ()
    produces: tuple[Key[Any], ...] = ()

    def __init__(self, scanners: Sequence[Scanner]) -> None:
        self._scanners = tuple(scanners)

    def open(self, exchange: Exchange) -> Looking | None:
        if exchange.answer is not None or not exchange.revealed:
            return None
        return Looking(exchange, self._scanners)


class Looking:
    """Lets everything by, and looks at it when the answer is whole: nothing is stored before."""

    waiting = False

    def __init__(self, exchange: Exchange, scanners: Sequence[Scanner]) -> None:
        self._exchange = exchange
        self._scanners = scanners
        self._texts: dict[tuple[str, int], list[str]] = {}
        self._size = 0

    def push(self, event: Event) -> Sequence[Event]:
        if not self._exchange.unshared:
            try:
                self._note(event)
            except Exception:  # whatever cannot be looked at is not shared
                self._exchange.unshared = True
        return (event,)

    def finish(self) -> Sequence[Event]:
        if not self._exchange.unshared:
            try:
                self._exchange.unshared = any(map(self._hit, self._texts.values()))
            except Exception:
                self._exchange.unshared = True
        return ()

    async def settle(self) -> Sequence[Event]:
        return ()

    def _note(self, event: Event) -> None:
        if type(event) is Text or type(event) is Reasoning:
            self._keep(type(event).__name__, event.choice, event.text)
        if type(event) is Unknown:
            self._fields(event.fields, event.choice)
        extra: Extra | None = getattr(event, "extra", None)
        if extra:
            self._fields(extra, getattr(event, "choice", -1))

    def _fields(self, fields: Extra, choice: int) -> None:
        for path, text in strings(fields):
            self._keep(f"{path} of fields", choice, text)

    def _keep(self, place: str, choice: int, text: str) -> None:
        self._size += len(text)
        if self._size > MAX_HELD:
            raise ValueError("too long to be looked at")
        self._texts.setdefault((place, choice), []).append(text)

    def _hit(self, pieces: list[str]) -> bool:
        text = "".join(pieces)
        return any(not scanner.quiet(text) and scanner.find(text) for scanner in self._scanners)
