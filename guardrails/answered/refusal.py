"""Answers in which the model declines. By its words, at the beginning of the answer only; by the field that a dialect
keeps for refusals; by the reason that the provider gives for the end.

The beginning is held until it has been read: two sentences, or 300 characters, a place that depends on the text alone.
Reasoning is let by, unless the mode is `full`, which holds a choice to its end."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from gateway.core.events import Blocked, ChoiceFinished, Event, Failed, Finished, Reasoning, Text, ToolCall, Unknown
from gateway.core.exchange import Exchange
from gateway.core.facts import Key
from guardrails.answered.answers import AnswerRules, Voice, declined, interested, note_held
from guardrails.answered.refusal_rules import OPENING, refuses

CATEGORY = "model_refusal"
MAX_HELD = 1 << 20
SHORT = 80
"""Characters that the opening has at least: greetings and thanks are no sentences to go by."""
_SENTENCE = re.compile(r"[.!?\u2026:](?=\s)|[。！？\n]")


def opening(text: str) -> str | None:
    """The beginning to judge by, once `text` has all of it. The same for every text that begins like this one."""
    ends = [match.end() for match in _SENTENCE.finditer(text[: OPENING + 1])]
    end = next((end for end in ends[1:] if end >= SHORT), OPENING)
    return text[:end] if len(text) > end else None


class Refusal:
    """Transform."""

    consumes: tuple[Key[Any], ...] = ()
    produces: tuple[Key[Any], ...] = ()

    def __init__(self, rules: AnswerRules) -> None:
        self.name = rules.name
        self._rules = rules

    def open(self, exchange: Exchange) -> Reading | None:
        return Reading(exchange, self._rules) if interested(exchange, self._rules) else None


class Beginning:
    """What of one choice has been read, and what of it is held."""

    __slots__ = ("held", "read", "since", "text")

    def __init__(self) -> None:
        self.held: list[Event] = []
        self.since = 0
        self.text = ""
        self.read = False
        """The opening has been judged."""


class Reading:
    """Session."""

    waiting = False

    def __init__(self, exchange: Exchange, rules: AnswerRules) -> None:
        self._exchange = exchange
        self._rules = rules
        self._voice = Voice(exchange, rules)
        self._full = rules.holds and rules.mode == "full"
        self._choices: dict[int, Beginning] = {}
        self._size = 0
        self._hits: dict[int, str] = {}

    def push(self, event: Event) -> Sequence[Event]:
        if self._voice.over:
            return (event,)
        kind = type(event)
        if kind is Text or kind is Reasoning or kind is ToolCall or kind is Unknown:
            return self._content(event)
        if kind is ChoiceFinished:
            return self._ended(event)  # type: ignore[arg-type]
        if kind is Blocked or kind is Failed:
            self._voice.over = True
        elif kind is not Finished and self._full and any(begin.held for begin in self._choices.values()):
            return self._hold(event, next(begin for begin in self._choices.values() if begin.held), 0)
        return (event,)

    def finish(self) -> Sequence[Event]:
        """Choices that ended without saying so are judged by what there is of them."""
        out: list[Event] = []
        for choice in sorted(self._choices):
            if self._voice.over:
                return out
            begin = self._choices[choice]
            self._read(choice, begin, begin.text)
            out += self._release(choice, begin)
        hits = ",".join(dict.fromkeys(self._hits.values()))
        self._voice.say("flag" if self._hits else "allow", len(self._hits), hits)
        return out

    async def settle(self) -> Sequence[Event]:
        return ()

    def _content(self, event: Event) -> Sequence[Event]:
        choice: int = event.choice  # type: ignore[attr-defined]
        begin = self._choices.setdefault(choice, Beginning())
        kind = type(event)
        if _refused(event):
            self._hits.setdefault(choice, "field")
            begin.read = True
        elif kind is Text and not begin.read:
            begin.text += event.text  # type: ignore[attr-defined]
            self._read(choice, begin, opening(begin.text))
        elif kind is ToolCall and not begin.read:  # it acts: what was said before is all that is said
            self._read(choice, begin, begin.text)
        if choice in self._hits and self._rules.holds:
            return [self._block(choice)]
        if self._full or (self._rules.holds and not begin.read and (kind is Text or begin.held)):
            return self._hold(event, begin, len(getattr(event, "text", "") or getattr(event, "arguments", "")))
        return [*self._release(choice, begin), event] if begin.held else (event,)

    def _ended(self, end: ChoiceFinished) -> Sequence[Event]:
        begin = self._choices.setdefault(end.choice, Beginning())
        self._read(end.choice, begin, begin.text)
        if end.reason == "content_filter":
            self._hits.setdefault(end.choice, "finish_reason")
        return [*self._release(end.choice, begin), *(() if self._voice.over else (end,))]

    def _read(self, choice: int, begin: Beginning, text: str | None) -> None:
        if text is None or begin.read:
            return
        begin.read = True
        start = self._exchange.clock.now()
        language = refuses(text)
        self._voice.micros += (self._exchange.clock.now() - start) // 1000
        if language:
            self._hits.setdefault(choice, language)

    def _release(self, choice: int, begin: Beginning) -> list[Event]:
        if choice in self._hits and self._rules.holds:
            return [self._block(choice)]
        held, begin.held = begin.held, []
        note_held(self._exchange, begin.since if held else 0)
        return held

    def _hold(self, event: Event, begin: Beginning, size: int) -> Sequence[Event]:
        self._size += size
        if self._size > MAX_HELD:
            held = [event for begin in self._choices.values() for event in begin.held]
            self._choices.clear()
            self._voice.unseen("too_long")
            return [*held, event]
        begin.held.append(event)
        begin.since = begin.since or self._exchange.clock.now()
        if self._exchange.asked().stream:
            now = sum(len(begin.text) for begin in self._choices.values() if begin.held)
            self._exchange.held_chars = max(self._exchange.held_chars, self._size if self._full else now)
        return ()

    def _block(self, choice: int) -> Blocked:
        return self._voice.block(self._hits[choice], "The model declined to answer.")


def _refused(event: Event) -> bool:
    """Said in the field that a dialect keeps for refusals: beside a text, or as a delta of its own."""
    if type(event) is Unknown:
        return any(isinstance(own, dict) and bool(own.get("refusal")) for own in event.fields.values())
    return type(event) is Text and declined(event)
