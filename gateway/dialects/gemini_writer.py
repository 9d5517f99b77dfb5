"""Events as `GenerateContentResponse` objects: pieces of a stream, or one whole answer.

Two things wait for the end. A function call is told whole in this API, so its pieces are gathered. And a finish reason is
all that says that an answer is whole, so none is told before that is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.core.events import ChoiceFinished, Event, Reasoning, Started, Text, ToolCall, Unknown, Usage
from gateway.dialects.anthropic_unknown import tool_input
from gateway.dialects.gemini_extra import unwrap, usage_object, word_of

Wire = dict[str, Any]
_NOTHING = {"text": ""}
"""The part of a piece that says no more than its end: clients join the texts of all pieces."""


class _Call:
    """One call under way."""

    __slots__ = ("arguments", "first")

    def __init__(self, first: ToolCall) -> None:
        self.first = first
        self.arguments = [first.arguments]

    def part(self) -> Wire:
        own = unwrap(self.first.extra)
        call: Wire = {"name": self.first.name or "", "args": tool_input("".join(self.arguments))}
        if self.first.id and not own.get("made_id"):
            call = {"id": self.first.id, **call}
        return {"functionCall": call, **(own.get("part") or {})}


class _Choice:
    """What one candidate has to tell that is not told yet."""

    __slots__ = ("calls", "fields", "finish", "parts", "told")

    def __init__(self) -> None:
        self.parts: list[Wire] = []
        self.calls: dict[int, _Call] = {}
        self.fields: Wire = {}
        self.finish: ChoiceFinished | None = None
        self.told = False
        """Its end is out, relayed as it came."""


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

    # --- following what is relayed

    def follows(self, events: Sequence[Event]) -> bool:
        """Whether a piece with these events, sent as it came, continues what was sent. If so, the writer has noticed."""
        for event in events:
            kind = type(event)
            if kind is ToolCall or kind is ChoiceFinished:
                choice = self._choices.get(event.choice)  # type: ignore[attr-defined]
                if choice is not None and (choice.calls or choice.finish is not None):
                    return False  # it has pieces of calls, or an end, that were to be told first
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
        told = [
            self._candidate(at, choice) for at, choice in sorted(self._choices.items()) if choice.parts or choice.fields
        ]
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
        return self._response(told or [_ending({}, 0, "STOP")], self._top, last=True)

    def block(self, more: Mapping[str, Any]) -> Wire:
        """The ending of an answer that a check stopped: candidates that have no end are stopped for safety. Calls that are
        not whole are left out."""
        waiting = sorted(at for at, choice in self._choices.items() if not choice.told) or [0]
        for at in waiting:
            self._choice(at).calls.clear()
        return self._response([self._ended(at, self._choice(at), "SAFETY") for at in waiting], dict(more), last=True)

    def _ended(self, at: int, choice: _Choice, word: str) -> Wire:
        choice.parts += [call.part() for call in choice.calls.values()]
        choice.calls.clear()
        choice.told = True
        if self._feedback is not None and not choice.parts:
            return {}
        own = unwrap(choice.finish.extra).get("candidate") if choice.finish is not None and word != "SAFETY" else None
        return {**_ending(self._candidate(at, choice), at, word), **(own or {})}

    def _candidate(self, at: int, choice: _Choice) -> Wire:
        parts, choice.parts = choice.parts, []
        fields, choice.fields = choice.fields, {}
        return {"content": {"parts": parts or [_NOTHING], "role": "model"}, "index": at, **fields}

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
        joins = last is not None and not own and "text" in last and last.keys() <= {"text", "thought"}
        if last is not None and joins and last.get("thought") == part.get("thought"):
            last["text"] += event.text
            return
        parts.append(part)

    def _call(self, event: ToolCall) -> None:
        calls = self._choice(event.choice).calls
        call = calls.get(event.call)
        if call is None:
            calls[event.call] = _Call(event)
        else:
            call.arguments.append(event.arguments)

    def _unknown(self, event: Unknown) -> None:
        own = unwrap(event.fields)
        if "part" in own:
            self._choice(event.choice).parts.append(own["part"])
        elif "candidate" in own:
            self._choice(event.choice).fields.update(own["candidate"])
        elif "chunk" in own:
            self._top.update(own["chunk"])


def _ending(candidate: Wire, at: int, word: str) -> Wire:
    candidate = candidate or {"content": {"parts": [_NOTHING], "role": "model"}, "index": at}
    return {**candidate, "finishReason": word}
