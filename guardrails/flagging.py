"""Output checks that only flag: nothing is held, the answer is looked at when it is over."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core.events import Blocked, Event, Failed, Finished, Reasoning, Text, ToolCall
from gateway.core.exchange import Exchange
from gateway.core.verdict import Verdict
from guardrails.scanner import Scanner
from guardrails.tracks import MAX_HELD
from guardrails.vault import blanked


class Flagged:
    """A session that lets everything by and says afterwards what it saw."""

    waiting = False

    def __init__(self, exchange: Exchange, name: str, category: str, scanner: Scanner) -> None:
        self._exchange = exchange
        self._name = name
        self._category = category
        self._scanner = scanner
        self._texts: dict[tuple[str, int, int], list[str]] = {}
        self._size = 0
        self._said = False

    def push(self, event: Event) -> Sequence[Event]:
        kind = type(event)
        if kind is Text or kind is Reasoning:
            self._keep((kind.__name__, event.choice, -1), event.text)  # type: ignore[attr-defined]
        elif kind is ToolCall:
            self._keep(("ToolCall", event.choice, event.call), event.arguments)  # type: ignore[attr-defined]
        elif kind is Finished:
            self.finish()
        elif kind is Blocked or kind is Failed:
            self._said = True
        return (event,)

    def finish(self) -> Sequence[Event]:
        if not self._said:
            self._said = True
            self._exchange.verdicts.append(self._verdict())
        return ()

    async def settle(self) -> Sequence[Event]:
        return ()

    def _keep(self, key: tuple[str, int, int], text: str) -> None:
        self._size += len(text)
        if self._size <= MAX_HELD:
            self._texts.setdefault(key, []).append(text)

    def _verdict(self) -> Verdict:
        if self._size > MAX_HELD:
            return Verdict(self._name, "not_scanned", "output", 0, self._category, None, "too_long")
        start = self._exchange.clock.now()
        try:
            count = 0
            for key, pieces in self._texts.items():
                text = "".join(pieces)
                count += len(self._scanner.find(blanked(text) if key[0] == "ToolCall" else text))
        except Exception:
            return Verdict(self._name, "not_scanned", "output", 0, self._category, None, "crashed")
        micros = (self._exchange.clock.now() - start) // 1000
        return Verdict(self._name, "flag" if count else "allow", "output", count, self._category, None, "", micros)
