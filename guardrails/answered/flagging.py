"""Output checks that only flag: nothing is held, the answer is looked at when it is over."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core.events import Blocked, Event, Failed, Finished, Reasoning, Text, ToolCall, Unknown
from gateway.core.exchange import Exchange
from gateway.core.verdict import Action, Verdict
from guardrails.answered.tracks import MAX_HELD, Overheld
from guardrails.answered.unknown import strings
from guardrails.finding.scanner import Scanner
from guardrails.hiding.vault import blanked


class Flagged:
    """A session that lets everything by and says afterwards what it saw."""

    waiting = False

    def __init__(
        self, exchange: Exchange, name: str, category: str, scanners: Sequence[Scanner], reason: str = ""
    ) -> None:
        """`reason` goes into the verdict: `audit` where the check would have acted."""
        self._exchange = exchange
        self._name = name
        self._category = category
        self._scanners = scanners
        self._reason = reason
        self._texts: dict[tuple[str, int, int], list[str]] = {}
        self._size = 0
        self._said = False

    def push(self, event: Event) -> Sequence[Event]:
        kind = type(event)
        if kind is Text or kind is Reasoning:
            self._keep((kind.__name__, event.choice, -1), event.text)  # type: ignore[attr-defined]
        elif kind is ToolCall:
            self._keep(("ToolCall", event.choice, event.call), event.arguments)  # type: ignore[attr-defined]
        elif kind is Unknown:
            self._keep_unknown(event)  # type: ignore[arg-type]
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

    def _keep_unknown(self, event: Unknown) -> None:
        try:
            for path, text in strings(event.fields):
                self._keep((path, event.choice, -2), text)
        except Overheld:
            self._size = MAX_HELD + 1

    def _verdict(self) -> Verdict:
        if self._size > MAX_HELD:
            return self._said_of("not_scanned", 0, "too_long")
        start = self._exchange.clock.now()
        count = 0
        try:
            for key, pieces in self._texts.items():
                text = "".join(pieces)
                seen = blanked(text) if key[0] == "ToolCall" else text
                count += sum(len(scanner.find(seen)) for scanner in self._scanners)
        except Exception:
            return self._said_of("not_scanned", 0, "crashed")
        micros = (self._exchange.clock.now() - start) // 1000
        return self._said_of("flag" if count else "allow", count, self._reason, micros)

    def _said_of(self, action: Action, count: int, reason: str, micros: int = 0) -> Verdict:
        if action == "not_scanned":
            self._exchange.degraded.append(f"guardrail:{self._name}")
        return Verdict(self._name, action, "output", count, self._category, None, reason, micros)
