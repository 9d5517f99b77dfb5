"""Stops an answer that repeats itself: text, reasoning and the arguments of calls, each by itself.

Nothing is held, except in mode `full`: the repetition is itself what shows it, so the first few times are out when it is
noticed. What is saved is the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from gateway.core.events import Blocked, Event, Failed, Finished, Reasoning, Text, ToolCall
from gateway.core.exchange import Exchange
from gateway.core.facts import Key
from guardrails.answered.answers import AnswerRules, Voice, interested, note_held
from guardrails.answered.runaway import Runaway

CATEGORY = "runaway_repetition"
REPEATS = 8
CHARS = 400
MAX_TEXTS = 512
MAX_HELD = 1 << 20

_Key = tuple[type[Event], int, int]


class Repetition:
    """Transform."""

    consumes: tuple[Key[Any], ...] = ()
    produces: tuple[Key[Any], ...] = ()

    def __init__(self, rules: AnswerRules, repeats: int, chars: int) -> None:
        self.name = rules.name
        self._rules = rules
        self._limits = (repeats, chars)

    def open(self, exchange: Exchange) -> Watching | None:
        return Watching(exchange, self._rules, *self._limits) if interested(exchange, self._rules) else None


class Watching:
    """Session."""

    waiting = False

    def __init__(self, exchange: Exchange, rules: AnswerRules, repeats: int, chars: int) -> None:
        self._exchange = exchange
        self._rules = rules
        self._limits = (repeats, chars)
        self._voice = Voice(exchange, rules)
        self._texts: dict[_Key, Runaway] = {}
        self._found = ""
        self._full = rules.holds and rules.mode == "full"
        self._held: list[Event] = []
        self._size = 0
        self._since = 0

    def push(self, event: Event) -> Sequence[Event]:
        if self._voice.over:
            return (event,)
        kind = type(event)
        if kind is Text or kind is Reasoning or kind is ToolCall:
            return self._look(event)  # type: ignore[arg-type]
        if kind is Blocked or kind is Failed:
            self._voice.over = True
            return (event,)
        if self._full and self._held and kind is not Finished:  # behind what is held, so that the order stays
            self._held.append(event)
            return ()
        return (event,)

    def finish(self) -> Sequence[Event]:
        held, self._held = self._held, []
        note_held(self._exchange, self._since)
        self._voice.say("flag" if self._found else "allow", int(bool(self._found)), self._found)
        return held

    async def settle(self) -> Sequence[Event]:
        return ()

    def _look(self, event: Text | Reasoning | ToolCall) -> Sequence[Event]:
        text = event.arguments if type(event) is ToolCall else event.text  # type: ignore[union-attr]
        key = (type(event), event.choice, event.call if type(event) is ToolCall else -1)
        runaway = self._texts.get(key)
        if runaway is None:
            if len(self._texts) >= MAX_TEXTS:
                return self._unseen("too_many", event)
            runaway = self._texts[key] = Runaway(*self._limits)
        start = self._exchange.clock.now()
        upto = runaway.push(text)
        self._voice.micros += (self._exchange.clock.now() - start) // 1000
        if upto is None:
            return self._pass(event, len(text))
        self._found = {Text: "text", Reasoning: "reasoning", ToolCall: "tool_arguments"}[type(event)]
        if not self._rules.holds:
            del self._texts[key]
            return (event,)
        blocked = self._voice.block(self._found, "The model repeated itself without end.")
        return [blocked] if self._full else [*_shortened(event, upto), blocked]

    def _pass(self, event: Event, size: int) -> Sequence[Event]:
        if not self._full:
            return (event,)
        self._size += size
        if self._size > MAX_HELD:
            return self._unseen("too_long", event)
        self._held.append(event)
        self._since = self._since or self._exchange.clock.now()
        if self._exchange.asked().stream:
            self._exchange.held_chars = max(self._exchange.held_chars, self._size)
        return ()

    def _unseen(self, reason: str, event: Event) -> Sequence[Event]:
        held, self._held = self._held, []
        self._voice.unseen(reason)
        return [*held, event]


def _shortened(event: Text | Reasoning | ToolCall, upto: int) -> list[Event]:
    if type(event) is ToolCall:
        return [msgspec.structs.replace(event, arguments=event.arguments[:upto])]
    text: str = event.text  # type: ignore[union-attr]
    return [event] if upto == len(text) else [msgspec.structs.replace(event, text=text[:upto], extra=None)]
