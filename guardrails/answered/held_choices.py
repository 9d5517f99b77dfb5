"""Holds the choices of an answer until each ends, and has each judged as a whole, off the event loop and in time.

For checks that half an answer tells nothing: the shape of JSON, the arguments of calls, what an answer is about. What
is held goes on in the order it came, so that text stays before the call that followed it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Protocol

import msgspec

from gateway.core.events import Blocked, ChoiceFinished, Event, Failed, Reasoning, Text, ToolCall, Unknown
from gateway.core.exchange import Exchange
from guardrails.answered.answers import AnswerRules, Voice, note_held
from guardrails.answered.tracks import Overheld
from guardrails.answered.unknown import strings

MAX_TEXT = 1 << 20
"""Characters of text and arguments that are kept of one answer. More is not judged."""


class Judged(msgspec.Struct, frozen=True):
    """What is to become of one choice."""

    hits: int = 0
    """What was wrong, whether mended or not."""
    events: Sequence[Event] | None = None
    """What goes on instead. None: what came."""
    error: str = ""
    """Why nothing may go on, for the client; never its text."""
    cut: bool = False
    """It ran into the token limit."""
    reasons: tuple[str, ...] = ()
    """Short words for the verdict, from a fixed vocabulary."""
    score: float | None = None


class NotJudged(Exception):
    """A choice cannot be judged. `args[0]` is the verdict's reason, `args[1]` a sentence for the operator, if any."""


class Judging(Protocol):
    """The check itself: pure, slow, on a thread of the pool."""

    def starts(self, event: Event) -> bool:
        """From this event on a choice is held."""
        ...

    def judge(self, events: Sequence[Event], reason: str) -> Judged:
        """`reason` is the canonical finish reason, "" for a choice that ended without saying so. Raises `NotJudged`."""
        ...


class HeldChoices:
    """Session. With `rules.holds` false it keeps a copy, lets everything by, and only says what it saw."""

    def __init__(self, exchange: Exchange, rules: AnswerRules, judging: Judging, pool: Executor) -> None:
        self._exchange = exchange
        self._rules = rules
        self._judging = judging
        self._pool = pool
        self._voice = Voice(exchange, rules)
        self._kept: dict[int, list[Event]] = {}
        self._since: dict[int, int] = {}
        self._size = 0
        self._ended: list[ChoiceFinished] = []
        self._hits = 0
        self._failed = False
        self._reasons: list[str] = []
        self._score: float | None = None
        self.waiting = False

    def push(self, event: Event) -> Sequence[Event]:
        if self._voice.over:
            return (event,)
        kind = type(event)
        if kind is Text or kind is Reasoning or kind is ToolCall or kind is Unknown:
            return self._keep(event, event.choice)  # type: ignore[attr-defined]
        if kind is ChoiceFinished and event.choice in self._kept:  # type: ignore[attr-defined]
            self._ended.append(event)  # type: ignore[arg-type]
            self.waiting = True
            return () if self._rules.holds else (event,)
        if kind is Blocked or kind is Failed:
            self._voice.over = True
            self._kept.clear()
        return (event,)

    def finish(self) -> Sequence[Event]:
        """Choices that ended without saying so are judged now, in `settle`; else the verdict is given."""
        if self._kept:
            self.waiting = True
        else:
            self._say()
        return ()

    async def settle(self) -> Sequence[Event]:
        self.waiting = False
        ends, self._ended = self._ended, []
        todo: list[tuple[int, ChoiceFinished | None]] = [(end.choice, end) for end in ends]
        out: list[Event] = []
        for choice, end in todo or [(choice, None) for choice in sorted(self._kept)]:
            out += await self._judge(choice, end)
            if self._voice.over:
                break
        if not todo:
            self._say()
        return out if self._rules.holds else ()

    def _keep(self, event: Event, choice: int) -> Sequence[Event]:
        if choice not in self._kept and not self._judging.starts(event):
            return (event,)
        self._size += _length(event)
        if self._size > MAX_TEXT:
            return self._unseen("too_long", event)
        self._kept.setdefault(choice, []).append(event)
        if not self._rules.holds:
            return (event,)
        self._since.setdefault(choice, self._exchange.clock.now())
        if self._exchange.asked().stream:
            self._exchange.held_chars = max(self._exchange.held_chars, self._size)
        return ()

    async def _judge(self, choice: int, end: ChoiceFinished | None) -> Sequence[Event]:
        events = self._kept.pop(choice)
        last = [] if end is None else [end]
        start = self._exchange.clock.now()
        try:
            judged = await self._run(events, "" if end is None else end.reason)
        except TimeoutError:
            return self._unseen("timeout", *events, *last)
        except NotJudged as problem:
            if len(problem.args) > 1:
                self._exchange.warnings.append(f"{self._rules.name}: {problem.args[1]}")
            return self._unseen(str(problem.args[0]), *events, *last)
        except Exception:
            return self._unseen("crashed", *events, *last)
        finally:
            self._voice.micros += (self._exchange.clock.now() - start) // 1000
        self._note(judged)
        if judged.error and self._rules.holds:
            self._kept.clear()
            return [self._voice.block(self._reason(), judged.error, cut=judged.cut, score=self._score)]
        note_held(self._exchange, self._since.pop(choice, 0))
        return [*(events if judged.events is None else judged.events), *last]

    async def _run(self, events: Sequence[Event], reason: str) -> Judged:
        job = asyncio.get_running_loop().run_in_executor(self._pool, self._judging.judge, events, reason)
        return await asyncio.wait_for(job, self._rules.deadline)

    def _note(self, judged: Judged) -> None:
        self._hits += judged.hits
        self._failed = self._failed or bool(judged.error)
        self._reasons += [reason for reason in judged.reasons if reason not in self._reasons]
        if judged.score is not None:
            self._score = max(judged.score, self._score if self._score is not None else judged.score)

    def _reason(self) -> str:
        return ",".join(self._reasons[:8])

    def _say(self) -> None:
        if not self._rules.holds:
            self._voice.say("flag" if self._failed else "allow", self._hits, self._reason(), self._score)
        else:
            self._voice.say("repair" if self._hits else "allow", self._hits, self._reason(), self._score)

    def _unseen(self, reason: str, *events: Event) -> Sequence[Event]:
        """The check could not judge. Closed ends the answer; open lets go of all that is held, in order."""
        kept = [event for choice in sorted(self._kept) for event in self._kept[choice]]
        self._kept.clear()
        self.waiting = False
        self._voice.unseen(reason)
        if not self._rules.holds:
            return events if reason == "too_long" else ()
        return [*kept, *events]


def _length(event: Event) -> int:
    if type(event) is ToolCall:
        return len(event.arguments)
    if type(event) is Unknown:
        try:
            return sum(len(text) for _, text in strings(event.fields))
        except Overheld:
            return MAX_TEXT + 1
    return len(event.text) if type(event) is Text or type(event) is Reasoning else 0
