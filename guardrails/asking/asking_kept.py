"""What of one choice waits to be asked about, and which part of it is due."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gateway.core.events import Event, Reasoning, Text, ToolCall, Unknown
from guardrails.answered.unknown import strings
from guardrails.reading.sentences import last_end

LEAST = 120
"""Characters that a window has at least, unless the text ends: shorter ones cost a question each and tell little."""
MOST = 2_000
"""Characters after which a text without an end of a sentence is cut at a space."""
OVERLAP = 240
"""Characters of what went before that are shown with a window."""


class Due(msgspec.Struct, frozen=True):
    """Events that go on together if nothing is wrong with their texts."""

    events: Sequence[Event]
    texts: Sequence[str]
    since: int = 0
    """When the oldest of the events came; nanoseconds."""


class KeptChoice:
    """The events of one choice in the order they came. `windows`: text and reasoning become due sentence by sentence;
    calls, and what no codec understands, always wait for the end. `extras`: unowned fields are text too."""

    __slots__ = ("_before", "_events", "_extras", "_since", "_windows")

    def __init__(self, *, windows: bool, extras: bool = True) -> None:
        self._windows = windows
        self._extras = extras
        self._events: list[Event] = []
        self._before: dict[type, str] = {}
        self._since = 0

    def push(self, event: Event, now: int) -> Due | None:
        """Takes an event; what is due now."""
        if not self._events:
            self._since = now
        if not self._windows:
            self._events.append(event)
            return None
        if self._events and _kind(self._events[-1]) is not _kind(event):
            due = self.rest()
            self._events, self._since = [event], now
            return due
        self._events.append(event)
        return self._cut(now) if type(event) is Text or type(event) is Reasoning else None

    def rest(self) -> Due:
        """All that waits: nothing more comes, or something else does."""
        events, self._events = self._events, []
        return self._due(events)

    def _cut(self, now: int) -> Due | None:
        text = "".join(event.text for event in self._events)  # type: ignore[attr-defined]
        at = last_end(text, LEAST)
        if not at and len(text) > MOST:
            at = text.rfind(" ", LEAST) + 1 or len(text)
        if not at:
            return None
        head, self._events = _split(self._events, at)
        due = self._due(head)
        self._since = now
        return due

    def _due(self, events: Sequence[Event]) -> Due:
        texts = texts_of(events, self._extras)
        if self._windows and texts and type(events[0]) in (Text, Reasoning) and texts[0].strip():
            kind = type(events[0])
            before = self._before.get(kind, "")
            texts[0] = before + texts[0]
            self._before[kind] = texts[0][-OVERLAP:]
        return Due(events, [text for text in texts if text.strip()], self._since)


def texts_of(events: Sequence[Event], extras: bool = True) -> list[str]:
    """The text, the reasoning, each call's arguments and each unknown field of some events of one choice, joined; then,
    with `extras`, what other fields came with them. Log-probabilities are left out: they spell the text again, with
    words between that were not said. Raises `Overheld` for fields nested too deeply."""
    parts: dict[tuple[str, str], list[str]] = {}
    others: list[str] = []
    for event in events:
        if type(event) is Text or type(event) is Reasoning:
            parts.setdefault((type(event).__name__, ""), []).append(event.text)
        elif type(event) is ToolCall:
            parts.setdefault(("ToolCall", str(event.call)), []).append(event.arguments)
        elif type(event) is Unknown:
            for path, text in strings(event.fields):
                parts.setdefault(("Unknown", path), []).append(text)
        extra = getattr(event, "extra", None) if extras else None
        others += [text for path, text in strings(extra) if "logprobs" not in path] if extra else []
    return [*map("".join, parts.values()), *(["\n".join(others)] if others else [])]


def _kind(event: Event) -> type[Event]:
    """Calls that are told in turns are one kind, and so are calls and unknown fields: their order is kept."""
    return Unknown if type(event) is ToolCall else type(event)


def _split(events: Sequence[Event], at: int) -> tuple[list[Event], list[Event]]:
    """The events before and after the character `at`; one that it falls into is cut, and its other fields go last."""
    head: list[Event] = []
    for number, event in enumerate(events):
        length = len(event.text)  # type: ignore[attr-defined]
        if length <= at:
            head.append(event)
            at -= length
            continue
        if not at:
            return head, list(events[number:])
        first = type(event)(event.text[:at], event.choice)  # type: ignore[attr-defined, call-arg]
        rest = msgspec.structs.replace(event, text=event.text[at:])  # type: ignore[attr-defined]
        return [*head, first], [rest, *events[number + 1 :]]
    return head, []
