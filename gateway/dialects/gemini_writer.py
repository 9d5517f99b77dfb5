"""Events as `GenerateContentResponse` objects: pieces of a stream, or one whole answer.

Two things wait. A function call is told whole in this API, so its pieces are gathered until it is. And a finish reason is
all that says that an answer is whole, so none is told before that is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.core.events import ChoiceFinished, Event, Reasoning, Started, Text, ToolCall, Unknown, Usage
from gateway.dialects.anthropic_unknown import tool_input
from gateway.dialects.gemini_extra import unwrap, usage_object, word_of
from gateway.dialects.json_codec import UNREADABLE, decode

Wire = dict[str, Any]
_NOTHING = {"text": ""}
"""The part of a piece that says no more than its end: clients join the texts of all pieces."""


class _Call:
    """One call under way."""

    __slots__ = ("_arguments", "_first", "_whole")

    def __init__(self, first: ToolCall) -> None:
        self._first = first
        self._arguments = [first.arguments]
        self._whole: bool | None = None

    def add(self, arguments: str) -> None:
        self._arguments.append(arguments)
        self._whole = None

    def whole(self) -> bool:
        """Its arguments are JSON. Looked at once for each state they are in."""
        if self._whole is None:
            try:
                decode("".join(self._arguments).encode("utf-8", "replace"))
                self._whole = True
            except UNREADABLE:
                self._whole = False
        return self._whole

    def part(self) -> Wire:
        own = unwrap(self._first.extra)
        call: Wire = {"name": self._first.name or "", "args": tool_input("".join(self._arguments))}
        if self._first.id and not own.get("made_id"):
            call = {"id": self._first.id, **call}
        return {"functionCall": call, **(own.get("part") or {})}


class _Choice:
    """What one candidate has to tell that is not told yet, in order."""

    __slots__ = ("calls", "fields", "finish", "parts", "told")

    def __init__(self) -> None:
        self.parts: list[Wire | _Call] = []
        self.calls: dict[int, _Call | None] = {}
        """By number; None when it is told."""
        self.fields: Wire = {}
        self.finish: ChoiceFinished | None = None
        self.told = False
        """Its end is out, relayed as it came."""

    def take(self, *, all_: bool) -> list[Wire]:
        """The parts that may be told. A call is over when its arguments are whole and the answer has gone on, or ended; what
        comes after one that is not waits with it."""
        taken: list[Wire] = []
        last = len(self.parts) - 1
        for at, part in enumerate(self.parts):
            if isinstance(part, _Call):
                if not (all_ or self.finish is not None or (at < last and part.whole())):
                    break
                self.calls = {number: None if call is part else call for number, call in self.calls.items()}
                part = part.part()
            taken.append(part)
        del self.parts[: len(taken)]
        return taken


class ResponseWriter:
    """Writes one answer. What the events say collects until it is taken."""

    def __init__(self, alias: str, fallback_id: str) -> None:
        self._alias = alias
        self._id = fallback_id
        self._head: Wire = {}
        self._top: Wire = {}
        self._feedback: Wire | None = None
        self._choices: dict[int, _Choice] = {}
        self.usage: Usage | None = None
        self.broken = False
        """Pieces of a call came after it had to be told: the answer cannot be completed honestly."""

    # --- following what is relayed

    def follows(self, events: Sequence[Event]) -> bool:
        """Whether a piece with these events, sent as it came, continues what was sent. If so, the writer has noticed."""
        for event in events:
            choice = self._choices.get(getattr(event, "choice", -1))
            if choice is not None and (choice.parts or choice.finish is not None):
                return False  # a call that waits, or an end, was to be told first
        for event in events:
            kind = type(event)
            if kind is ChoiceFinished:
                self._choice(event.choice).told = True  # type: ignore[attr-defined]
                self._feedback = unwrap(event.extra).get("feedback")  # type: ignore[attr-defined]
            elif kind is Usage:
                self.usage = event  # type: ignore[assignment]
            elif kind is Started:
                self._start(event)  # type: ignore[arg-type]
            elif kind is not Unknown:
                self._choice(event.choice)  # type: ignore[attr-defined]
        return True

    # --- writing

    def write(self, events: Sequence[Event]) -> None:
        for event in events:
            match event:
                case Text() | Reasoning():
                    self._text(event)
                case ToolCall():
                    self._call(event)
                case Unknown():
                    self._unknown(event)
                case ChoiceFinished():
                    self._feedback = unwrap(event.extra).get("feedback") or self._feedback
                    self._choice(event.choice).finish = event
                case Usage():
                    self.usage = event
                case Started():
                    self._start(event)

    def take(self) -> Wire | None:
        """What can be told now, as one piece; None when nothing can."""
        told = []
        for at, choice in sorted(self._choices.items()):
            parts = choice.take(all_=False)
            if parts or choice.fields:
                told.append(_candidate(at, choice, parts))
        top, self._top = self._top, {}
        return self._response(told, top) if told or top else None

    def finish(self) -> Wire | None:
        """All that is left, with the ends of the candidates and the usage; None where an upstream's own end is out."""
        left = sorted((at, choice) for at, choice in self._choices.items() if not choice.told)
        if not left and self._choices:
            return None
        told = [self._ended(at, choice, word_of(choice.finish or ChoiceFinished("stop"))) for at, choice in left]
        if self._feedback is not None:
            return self._response(
                [one for one in told if "content" in one], {"promptFeedback": self._feedback}, last=True
            )
        return self._response(told or [{**_candidate(0, _Choice(), []), "finishReason": "STOP"}], self._top, last=True)

    def block(self, more: Mapping[str, Any]) -> Wire:
        """The ending of an answer that a check stopped: candidates that have no end are stopped for safety, without what
        waited."""
        waiting = sorted(at for at, choice in self._choices.items() if not choice.told) if self._choices else [0]
        for at in waiting:
            choice = self._choice(at)
            choice.parts.clear()
            choice.finish = None
        return self._response([self._ended(at, self._choice(at), "SAFETY") for at in waiting], dict(more), last=True)

    def _ended(self, at: int, choice: _Choice, word: str) -> Wire:
        choice.told = True
        parts = choice.take(all_=True)
        if self._feedback is not None and not parts:
            return {}
        own = unwrap(choice.finish.extra).get("candidate") if choice.finish is not None else None
        return {**_candidate(at, choice, parts), "finishReason": word, **(own or {})}

    def _response(self, candidates: list[Wire], top: Wire, *, last: bool = False) -> Wire:
        wire: Wire = {"candidates": candidates} if candidates else {}
        wire.update(top)
        if last and self.usage is not None:
            wire["usageMetadata"] = usage_object(self.usage)
        return {**wire, "modelVersion": self._alias, "responseId": self._id, **self._head}

    def _start(self, event: Started) -> None:
        self._id = event.id or self._id
        self._head = {name: value for name, value in unwrap(event.extra).items() if name != "promptFeedback"}

    def _choice(self, at: int) -> _Choice:
        choice = self._choices.get(at)
        if choice is None:
            choice = self._choices[at] = _Choice()
        return choice

    def _text(self, event: Text | Reasoning) -> None:
        own = unwrap(event.extra).get("part") or {}
        if not event.text and not own:
            self._choice(event.choice)
            return
        part: Wire = {"text": event.text, **own}
        if type(event) is Reasoning and event.text:
            part["thought"] = True
        parts = self._choice(event.choice).parts
        last = parts[-1] if parts else None
        joins = isinstance(last, dict) and not own and "text" in last and last.keys() <= {"text", "thought"}
        if isinstance(last, dict) and joins and last.get("thought") == part.get("thought"):
            last["text"] += event.text
            return
        parts.append(part)

    def _call(self, event: ToolCall) -> None:
        choice = self._choice(event.choice)
        if event.call not in choice.calls:
            call = choice.calls[event.call] = _Call(event)
            choice.parts.append(call)
            return
        known = choice.calls[event.call]
        if known is not None:
            known.add(event.arguments)
        elif event.arguments:
            self.broken = True

    def _unknown(self, event: Unknown) -> None:
        own = unwrap(event.fields)
        if "part" in own:
            self._choice(event.choice).parts.append(own["part"])
        elif "candidate" in own:
            self._choice(event.choice).fields.update(own["candidate"])
        elif "chunk" in own:
            self._top.update(own["chunk"])


def _candidate(at: int, choice: _Choice, parts: list[Wire]) -> Wire:
    fields, choice.fields = choice.fields, {}
    return {"content": {"parts": parts or [_NOTHING], "role": "model"}, "index": at, **fields}
