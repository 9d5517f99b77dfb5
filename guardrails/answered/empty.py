"""Answers that say nothing: no visible text and no call of a tool, whatever else they are made of.

An event without visible text is content all the same to whoever sends it on, and once one is sent nothing can be asked
again; so such events are held until something visible comes. Reasoning is let by, unless the mode is `full`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.core.events import Blocked, ChoiceFinished, Event, Failed, Reasoning, Text, ToolCall, Unknown
from gateway.core.exchange import Exchange
from gateway.core.facts import Key
from guardrails.answered.answers import AnswerRules, Voice, interested, note_held

CATEGORY = "empty_answer"
MAX_HELD = 1 << 20
MAX_CHOICES = 512
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | {chr(code) for code in range(0xFE00, 0xFE10)}
"""Printable by Unicode's categories, and yet nothing to see."""


def visible(text: str) -> bool:
    """Whether a reader would see anything of it. White space, control and format characters are nothing."""
    return any(ch.isprintable() and not ch.isspace() and ch not in _BLANK for ch in text)


class Empty:
    """Transform."""

    consumes: tuple[Key[Any], ...] = ()
    produces: tuple[Key[Any], ...] = ()

    def __init__(self, rules: AnswerRules) -> None:
        self.name = rules.name
        self._rules = rules

    def open(self, exchange: Exchange) -> Waiting | None:
        return Waiting(exchange, self._rules) if interested(exchange, self._rules) else None


class Waiting:
    """Session: waits, in each choice, for the first thing that can be seen."""

    waiting = False

    def __init__(self, exchange: Exchange, rules: AnswerRules) -> None:
        self._exchange = exchange
        self._rules = rules
        self._voice = Voice(exchange, rules)
        self._full = rules.holds and rules.mode == "full"
        self._seen: set[int] = set()
        """Choices that have said something."""
        self._kept: dict[int, list[Event]] = {}
        """Of those that have not, what is held."""
        self._thought: set[int] = set()
        self._size = 0
        self._since = 0
        self._hits: list[str] = []

    def push(self, event: Event) -> Sequence[Event]:
        if self._voice.over:
            return (event,)
        kind = type(event)
        if kind is Text or kind is Reasoning or kind is ToolCall or kind is Unknown:
            return self._content(event)
        if kind is ChoiceFinished and event.choice not in self._seen:  # type: ignore[attr-defined]
            return self._ended(event)  # type: ignore[arg-type]
        if kind is Blocked or kind is Failed:
            self._voice.over = True
        return (event,)

    def finish(self) -> Sequence[Event]:
        """A choice that ended without saying so, and an answer without any, are judged as if it had."""
        if self._voice.over:
            return ()
        for choice in sorted(self._kept) or ([] if self._seen or self._hits else [0]):
            out = self._ended(ChoiceFinished("", choice))
            if self._voice.over:
                return out
        self._voice.say("flag" if self._hits else "allow", len(self._hits), ",".join(self._hits))
        return ()

    async def settle(self) -> Sequence[Event]:
        return ()

    def _content(self, event: Event) -> Sequence[Event]:
        choice: int = event.choice  # type: ignore[attr-defined]
        if choice in self._seen:
            return (event,)
        if type(event) is ToolCall or type(event) is Unknown or (type(event) is Text and visible(event.text)):
            self._seen.add(choice)
            kept = self._kept.pop(choice, [])
            note_held(self._exchange, self._since if kept else 0)
            return [*kept, event]
        kept = self._kept.setdefault(choice, [])
        if type(event) is Reasoning:
            self._thought.add(choice)
            if not self._full:
                return [*self._let(kept), event]
        if not self._rules.holds:
            return (event,)
        self._size += len(event.text)  # type: ignore[attr-defined]
        if self._size > MAX_HELD or len(self._kept) > MAX_CHOICES:
            held = [event for kept in self._kept.values() for event in kept]
            self._kept.clear()
            self._voice.unseen("too_long")
            return [*held, event]
        kept.append(event)
        self._since = self._since or self._exchange.clock.now()
        if self._exchange.asked().stream:
            self._exchange.held_chars = max(self._exchange.held_chars, self._size)
        return ()

    @staticmethod
    def _let(kept: list[Event]) -> list[Event]:
        """What is held goes before reasoning that passes: the order of a choice's events stays."""
        out = list(kept)
        kept.clear()
        return out

    def _ended(self, end: ChoiceFinished) -> Sequence[Event]:
        kept = self._kept.pop(end.choice, [])
        self._seen.add(end.choice)
        reason = self._reason(end, kept)
        self._hits.append(reason)
        if not self._rules.holds:
            return (end,)
        message = "The model's answer is empty."
        if end.reason == "length":
            message = "The model's answer is empty: its tokens were spent before it said anything."
        return [self._voice.block(reason, message, cut=end.reason == "length")]

    def _reason(self, end: ChoiceFinished, kept: Sequence[Event]) -> str:
        """Why it is empty, told apart: whoever sets a token limit wants to know that reasoning used it up."""
        thought = end.choice in self._thought
        if end.reason == "length":
            return "cut_in_reasoning" if thought else "cut"
        if end.reason == "content_filter":
            return "filtered"
        if thought:
            return "reasoning_only"
        return "blank" if any(type(event) is Text and event.text for event in kept) else "no_text"
