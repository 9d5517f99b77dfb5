"""The first transform on the answer of a target that was shown originals: they become placeholders again.

So output checks, caches and whatever records see of such an answer what they would see of any other, and `restore` gives
the client the originals at the end. A value that comes back in another letter case gets a placeholder of its own, so
that the client reads it as the model wrote it; nobody else could restore that, so such an answer is not shared.

Not seen: a value the model changed in other ways (spelt out, reversed, taken apart), as with any search for a text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from gateway.core.errors import CheckFailed
from gateway.core.events import (
    Blocked,
    ChoiceFinished,
    Event,
    Extra,
    Failed,
    Finished,
    Reasoning,
    Started,
    Text,
    ToolCall,
    Unknown,
    Usage,
)
from gateway.core.exchange import Exchange
from gateway.core.facts import Key
from guardrails.answered.tracks import MAX_HELD, Overheld, TextTrack
from guardrails.answered.unknown import strings
from guardrails.finding.spans import Span, rewrite
from guardrails.hiding.own_values import OwnValues
from guardrails.hiding.reveal import REVEALING
from guardrails.hiding.vault import VAULT, Vault
from guardrails.reading.json_spelling import spoken

_DEPTH = 32
_MOST = 512
"""Choices and tool calls of one answer; more is a broken upstream."""


class Remask:
    """Transform. Interested only where the attempt under way was sent originals."""

    name = "remask"
    consumes: tuple[Key[Any], ...] = (VAULT,)
    produces: tuple[Key[Any], ...] = ()

    def open(self, exchange: Exchange) -> Remasking | None:
        vault, revealing = exchange.facts.get(VAULT), exchange.facts.get(REVEALING)
        if exchange.answer is not None or not exchange.revealed or vault is None or revealing is None:
            return None
        return Remasking(exchange, vault, dict(revealing.originals()))


class Remasking:
    """One answer. Text and reasoning go through a hold-back; tool calls and what no codec knows wait for the end of
    their choice. Raises `CheckFailed` rather than let anything by unmasked."""

    waiting = False

    def __init__(self, exchange: Exchange, vault: Vault, originals: dict[str, str]) -> None:
        self._exchange = exchange
        self._vault = vault
        self._originals = originals
        self._values = OwnValues(originals)
        self._streams = exchange.asked().stream
        self._texts: dict[tuple[type[Event], int], TextTrack] = {}
        self._calls: dict[tuple[int, int], list[ToolCall]] = {}
        self._unknown: dict[int, list[Unknown]] = {}
        self._size = 0
        """Characters that wait in calls and unknown events."""

    def push(self, event: Event) -> Sequence[Event]:
        try:
            return self._push(event)
        except (Overheld, RecursionError):
            raise CheckFailed(
                "The answer of an internal target could not be masked again, so it may not pass."
            ) from None

    def finish(self) -> Sequence[Event]:
        choices = {choice for _, choice in self._texts} | {choice for choice, _ in self._calls} | set(self._unknown)
        return [event for choice in sorted(choices) for event in self._close(choice)]

    async def settle(self) -> Sequence[Event]:
        return ()

    # --- for the tracks

    def passes(self, span: Span) -> bool:
        return False

    def replacement(self, span: Span, original: str, as_json: bool) -> str | None:
        return self._placeholder(span.kind, original)

    # --- events

    def _push(self, event: Event) -> Sequence[Event]:
        match event:
            case Text() | Reasoning():
                return self._text(event)
            case ToolCall():
                before = self._drain_texts(event.choice)
                self._keep(len(event.arguments), len(self._calls))
                extra = self._clean(event.extra)
                kept = event if extra is event.extra else msgspec.structs.replace(event, extra=extra)
                self._calls.setdefault((event.choice, event.call), []).append(kept)
                return before
            case Unknown():
                self._keep(sum(len(text) for _, text in strings(event.fields)), len(self._unknown))
                self._unknown.setdefault(event.choice, []).append(event)
                return ()
            case ChoiceFinished():
                return [*self._close(event.choice), self._beside(event)]
            case Finished():
                return [*self.finish(), event]
            case Started() | Usage():
                return (self._beside(event),)
            case Blocked() | Failed():
                self._texts.clear()
                self._calls.clear()
                self._unknown.clear()
        return (event,)

    def _text(self, event: Text | Reasoning) -> Sequence[Event]:
        extra = self._clean(event.extra)
        if extra is not event.extra:
            event = msgspec.structs.replace(event, extra=extra)
        kind, choice = type(event), event.choice
        out: list[Event] = []
        if event.text:  # a text ends where another kind of content of its choice begins
            out += self._drain_texts(choice, but=kind)
            out += self._drain_calls(choice)
        track = self._texts.get((kind, choice))
        if track is None:
            if len(self._texts) >= _MOST:
                raise Overheld
            track = self._texts[kind, choice] = TextTrack(
                self._values, self, lambda text, extra: kind(text, choice, extra)
            )
        now, since = self._exchange.clock.now(), track.since
        told = track.push(event, now)
        if self._streams:
            if told and since is not None:
                self._exchange.held = max(self._exchange.held, now - since)
            self._exchange.held_chars = max(self._exchange.held_chars, track.held)
        return [*out, *told] if out else told

    def _keep(self, size: int, tracks: int) -> None:
        self._size += size
        if self._size > MAX_HELD or tracks >= _MOST:
            raise Overheld

    def _close(self, choice: int) -> list[Event]:
        return [*self._drain_texts(choice), *self._drain_calls(choice), *self._drain_unknown(choice)]

    def _drain_texts(self, choice: int, but: type[Event] | None = None) -> list[Event]:
        keys = [key for key in self._texts if key[1] == choice and key[0] is not but]
        return [event for key in keys for event in self._texts.pop(key).finish()]

    def _drain_calls(self, choice: int) -> list[Event]:
        keys = [key for key in self._calls if key[0] == choice]
        return [event for key in keys for event in self._call(self._calls.pop(key))]

    def _call(self, events: list[ToolCall]) -> Sequence[Event]:
        raw = "".join(event.arguments for event in events)
        self._size -= len(raw)
        arguments = self._masked_json(raw)
        if arguments == raw:
            return events
        first = events[0]
        return [ToolCall(first.call, arguments, first.id, first.name, first.choice)]

    def _drain_unknown(self, choice: int) -> list[Event]:
        """Strings at the same place are read as one text, since deltas come in pieces. A value in pieces cannot be put
        back in its place, so then all of them are withheld."""
        events = self._unknown.pop(choice, [])
        masked = [self._deep_event(event) for event in events]
        texts: dict[str, list[str]] = {}
        for event in masked:
            for path, text in strings(event.fields):
                texts.setdefault(path, []).append(text)
        if any(self._values.find("".join(pieces)) for pieces in texts.values()):
            self._exchange.unshared = True
            return []
        return [*masked]

    # --- values

    def _placeholder(self, known: str, written: str) -> str:
        """`known`: the placeholder of the value that was found; `written`: in the letter case it stands in."""
        if written == self._originals[known]:
            return known
        self._exchange.unshared = True
        return self._vault.issue(known[2:-2].rpartition("_")[0], written, restore=known in self._vault.values)

    def _masked(self, text: str) -> str:
        spans = self._values.find(text)
        return rewrite(text, spans, self._placeholder) if spans else text

    def _masked_json(self, raw: str) -> str:
        """Values by what the escapes mean, then as they stand: what is no JSON is no worse off."""
        text, places = spoken(raw)
        spans = self._values.find(text)
        if spans:
            instead = [self._placeholder(span.kind, text[span.start : span.end]) for span in spans]
            moved = [Span(span.kind, places[span.start], places[span.end]) for span in spans]
            left = iter(instead)
            raw = rewrite(raw, moved, lambda _kind, _value: next(left))
        return self._masked(raw)

    def _clean(self, extra: Extra | None) -> Extra | None:
        """The fields beside a piece of text, or None if they say a value: they describe what is replaced."""
        return None if extra and any(self._values.find(text) for _, text in strings(extra)) else extra

    def _beside(self, event: ChoiceFinished | Started | Usage) -> Event:
        changed = {
            name: value
            for name in ("extra", "raw")
            if (before := getattr(event, name, None)) and (value := self._deep(before, 0)) != before
        }
        return msgspec.structs.replace(event, **changed) if changed else event

    def _deep_event(self, event: Unknown) -> Unknown:
        fields = self._deep(event.fields, 0)
        return event if fields == event.fields else Unknown(fields, event.choice)

    def _deep(self, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            return self._masked(value)
        if depth >= _DEPTH:
            raise Overheld
        if isinstance(value, dict):
            return {self._masked(key): self._deep(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list):
            return [self._deep(item, depth + 1) for item in value]
        return value
