"""Output checks that must ask something slow: a judge, a service, a local classifier. Nothing that they have not heard
about goes out.

`full` holds each choice to its end; `window` holds to the end of a sentence, asks about what has come with a little of
what went before, and lets it go. A check that only flags holds nothing, and keeps back the end mark until it has
asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gateway.core.breaker import Breaker
from gateway.core.clock import Clock
from gateway.core.events import Blocked, ChoiceFinished, Event, Failed, Reasoning, Text, ToolCall, Unknown
from gateway.core.exchange import Exchange
from gateway.core.facts import Key
from guardrails.answered.answers import AnswerRules, Voice, interested
from guardrails.answered.tracks import MAX_HELD, Overheld
from guardrails.asked.looking import FAILURES, LONGEST_REST, REST
from guardrails.asked.screen import Asking
from guardrails.asking.asking_kept import Due, KeptChoice, texts_of
from guardrails.asking.guarded import Guarded
from guardrails.asking.not_scanned import NotScanned

ALL: frozenset[type[Event]] = frozenset({Text, Reasoning, ToolCall, Unknown})


class OutputAsking:
    """Transform. `kinds`: the events that are looked at; others pass. `ready`: whether there is anything to ask about
    this exchange."""

    consumes: tuple[Key[Any], ...] = ()
    produces: tuple[Key[Any], ...] = ()

    def __init__(
        self,
        rules: AnswerRules,
        asking: Asking,
        *,
        clock: Clock,
        kinds: frozenset[type[Event]] = ALL,
        ready: Callable[[Exchange], bool] = lambda exchange: True,
    ) -> None:
        self.name = rules.name
        self._rules = rules
        self._ask = Guarded(asking, Breaker(clock, failures=FAILURES, cooldown=REST, longest=LONGEST_REST))
        self._kinds = kinds
        self._ready = ready

    def open(self, exchange: Exchange) -> AskedAnswer | None:
        if not interested(exchange, self._rules) or not self._ready(exchange):
            return None
        return AskedAnswer(exchange, self._rules, self._ask, self._kinds)


class AskedAnswer:
    """Session."""

    def __init__(self, exchange: Exchange, rules: AnswerRules, asking: Guarded, kinds: frozenset[type[Event]]) -> None:
        self._exchange = exchange
        self._rules = rules
        self._asking = asking
        self._kinds = kinds
        self._voice = Voice(exchange, rules)
        self._streams = exchange.asked().stream
        # Of an answer that is not streamed nothing leaves before its end: asking piece by piece would gain nothing.
        self._windows = rules.mode == "window" and self._streams and rules.holds
        self._kept: dict[int, KeptChoice] = {}
        self._size = 0
        self._due: list[Due] = []
        self._ends: list[ChoiceFinished] = []
        self._score: float | None = None
        self._rule = ""
        self._asked = False
        self._last = False
        self.waiting = False

    def push(self, event: Event) -> Sequence[Event]:
        if self._voice.over:
            return (event,)
        kind = type(event)
        if kind in self._kinds:
            return self._keep(event)
        if kind is ChoiceFinished and self._rules.holds and event.choice in self._kept:  # type: ignore[attr-defined]
            self._ends.append(event)  # type: ignore[arg-type]
            self._wait(self._kept.pop(event.choice).rest())  # type: ignore[attr-defined]
            return ()
        if kind is Blocked or kind is Failed:
            self._voice.over = True
            self._kept.clear()
        return (event,)

    def finish(self) -> Sequence[Event]:
        """Choices that ended without saying so, and all of a check that holds nothing, are asked about now."""
        if self._voice.over:
            return ()
        self._last = True
        for choice in sorted(self._kept):
            self._wait(self._kept.pop(choice).rest())
        if not self.waiting:
            self._say()
        return ()

    async def settle(self) -> Sequence[Event]:
        self.waiting = False
        due, self._due = self._due, []
        ends: list[Event] = [*self._ends]
        self._ends = []
        events = [event for part in due for event in part.events]
        try:
            hit = await self._ask([text for part in due for text in part.texts])
        except TimeoutError:
            return self._unseen("timeout", [*events, *ends])
        except NotScanned as why:
            return self._unseen(why.reason, [*events, *ends])
        except Exception:
            return self._unseen("crashed", [*events, *ends])
        if hit and self._rules.holds:
            self._kept.clear()
            return [self._voice.block(self._rule, score=self._score)]
        if hit:
            self._voice.say("flag", 1, self._rule, self._score)
        if self._last:
            self._say()
        self._note_held(due)
        return [*events, *ends] if self._rules.holds else ()

    def _keep(self, event: Event) -> Sequence[Event]:
        choice: int = event.choice  # type: ignore[attr-defined]
        now = self._exchange.clock.now()
        try:
            self._size += _length((event,))
        except Overheld:
            return self._unseen("too_deep", [event], early=False)
        if self._size > MAX_HELD:
            return self._unseen("too_long", [event], early=False)
        kept = self._kept.get(choice)
        if kept is None:
            kept = self._kept[choice] = KeptChoice(windows=self._windows, extras=self._kinds is ALL)
        due = kept.push(event, now)
        if not self._rules.holds:
            return (event,)
        if self._streams:
            self._exchange.held_chars = max(self._exchange.held_chars, self._size)
        if due is not None:
            self._wait(due)
        return ()

    def _wait(self, due: Due) -> None:
        self._due.append(due)
        self.waiting = True

    async def _ask(self, texts: Sequence[str]) -> bool:
        """Whether any of the texts is a hit."""
        if not texts:
            return False
        self._asked = True
        start = self._exchange.clock.now()
        try:
            findings = await self._asking.ask(self._exchange, texts, self._rules.deadline)
        finally:
            self._voice.micros += (self._exchange.clock.now() - start) // 1000
        worst = max(findings, key=lambda finding: (finding.hit, finding.score or 0.0))
        if worst.score is not None and (self._score is None or worst.score >= self._score):
            self._score, self._rule = worst.score, worst.rule
        return worst.hit

    def _say(self) -> None:
        self._voice.say("allow", 0, self._rule if self._asked else "no_text", self._score)

    def _note_held(self, due: Sequence[Due]) -> None:
        if not self._rules.holds or not self._streams:
            return
        now = self._exchange.clock.now()
        for part in due:
            self._size -= _length(part.events)
            self._exchange.held = max(self._exchange.held, now - part.since)

    def _unseen(self, reason: str, events: Sequence[Event], *, early: bool = True) -> Sequence[Event]:
        """Closed ends the answer; open lets go of all that is held, in order, and looks no more. `early`: `events` came
        before what else is held."""
        self.waiting = False
        kept = [event for choice in sorted(self._kept) for event in self._kept[choice].rest().events]
        self._kept.clear()
        self._voice.unseen(reason)
        if not self._rules.holds:
            return () if early else events
        return [*events, *kept] if early else [*kept, *events]


def _length(events: Sequence[Event]) -> int:
    return sum(map(len, texts_of(events)))
