"""Events as entries of a chunk's `choices`, for chat and for legacy completions."""

from __future__ import annotations

from typing import Any, Protocol

from gateway.core.events import ChoiceFinished, Event, Extra, Reasoning, Text, ToolCall, Unknown
from gateway.dialects.openai_extra import unwrap

_REASONING = {"reasoning": ("reasoning",), "both": ("reasoning_content", "reasoning")}
_TOLD_ONCE = ("id", "type")


class Writer(Protocol):
    """Stateful over one answer: it knows which choices began and ended."""

    wire_object: str
    open: set[int]
    """Choices the client has heard of, with their role if there are roles."""
    finished: set[int]
    roles: bool
    """Whether a choice's first delta names its role."""

    def entry(self, event: Event) -> dict[str, Any] | None:
        """One `choices` entry, or None for events that make none here."""
        ...

    def said(self, text: str, choice: int) -> dict[str, Any]:
        """The same for the commonest event: more text of a choice that is open."""
        ...

    def note(self, event: Event) -> None:
        """Takes notice of an event that was relayed as it came."""
        ...

    def end(self, choice: int, reason: str) -> dict[str, Any]: ...


def reason_for(choice_calls: bool) -> str:
    """For an answer that ended whole although its upstream never said why a choice ended."""
    return "tool_calls" if choice_calls else "stop"


class ChatWriter:
    """Deltas of `chat.completion.chunk`."""

    wire_object = "chat.completion.chunk"
    roles = True

    def __init__(self) -> None:
        self.open: set[int] = set()
        self.finished: set[int] = set()
        self._calls: dict[tuple[int, int], str] = {}

    def note(self, event: Event) -> None:
        if type(event) is ToolCall:
            self._kind(event)
        elif type(event) is ChoiceFinished:
            self.finished.add(event.choice)

    def entry(self, event: Event) -> dict[str, Any] | None:
        match event:
            case Text():
                own = unwrap(event.extra)
                if not event.text and not own.get("choice") and not own.get("chunk"):
                    return None
                name = "refusal" if own.get("refusal") is True else "content"
                return self._entry(event.choice, {name: event.text} if event.text else {}, event.extra)
            case Reasoning():
                if not event.text:
                    return None
                names = _REASONING.get(unwrap(event.extra).get("as", ""), ("reasoning_content",))
                return self._entry(event.choice, dict.fromkeys(names, event.text), None)
            case ToolCall():
                return self._entry(event.choice, self._call(event), None)
            case Unknown():
                fields = unwrap(event.fields)
                return self._entry(event.choice, fields, None) if fields else None
            case ChoiceFinished():
                entry = self._entry(event.choice, {}, event.extra)
                entry["finish_reason"] = event.reason
                self.finished.add(event.choice)
                return entry
        return None

    def said(self, text: str, choice: int) -> dict[str, Any]:
        return {"index": choice, "delta": {"content": text}, "finish_reason": None}

    def end(self, choice: int, reason: str) -> dict[str, Any]:
        """Ends a choice; an empty `reason` means that the upstream gave none."""
        self.finished.add(choice)
        entry = self._entry(choice, {}, None)
        entry["finish_reason"] = reason or reason_for(any(at == choice for at, _ in self._calls))
        return entry

    def _entry(self, choice: int, delta: dict[str, Any], extra: Extra | None) -> dict[str, Any]:
        if choice not in self.open:
            self.open.add(choice)
            delta = {"role": "assistant", **delta}
        entry: dict[str, Any] = {"index": choice, "delta": delta, "finish_reason": None}
        if extra:
            entry.update(unwrap(extra).get("choice") or {})
        return entry

    def _kind(self, event: ToolCall) -> str:
        key = (event.choice, event.call)
        kind = self._calls.get(key)
        if kind is None:
            kind = self._calls[key] = unwrap(event.extra).get("type", "function")
        return kind

    def _call(self, event: ToolCall) -> dict[str, Any]:
        """The delta of one piece of a call. What is not told again is left out, not nulled: strict clients want that."""
        first = (event.choice, event.call) not in self._calls
        kind = self._kind(event)
        if kind == "function_call":
            legacy = {"name": event.name or ""} if first else {}
            return {"function_call": {**legacy, "arguments": event.arguments}}
        own = unwrap(event.extra)
        call: dict[str, Any] = {"index": event.call}
        inner: dict[str, Any] = {}
        if first or event.id:
            call["id"] = event.id or f"call_{event.choice}_{event.call}"
        if first:
            call["type"] = kind
        if first or event.name:
            inner["name"] = event.name or ""
        inner["input" if kind == "custom" else "arguments"] = event.arguments
        inner.update(own.get("function") or {})
        call.update(own.get("call") or {})
        call[kind] = inner
        return {"tool_calls": [call]}


class TextWriter:
    """Entries of `text_completion`, streamed."""

    wire_object = "text_completion"
    roles = False

    def __init__(self) -> None:
        self.open: set[int] = set()
        self.finished: set[int] = set()

    def note(self, event: Event) -> None:
        if type(event) is ChoiceFinished:
            self.finished.add(event.choice)

    def entry(self, event: Event) -> dict[str, Any] | None:
        if type(event) is Text:
            return self._entry(event.choice, event.text, None, event.extra)
        if type(event) is ChoiceFinished:
            self.finished.add(event.choice)
            return self._entry(event.choice, "", event.reason, event.extra)
        return None

    def said(self, text: str, choice: int) -> dict[str, Any]:
        return {"index": choice, "text": text, "logprobs": None, "finish_reason": None}

    def end(self, choice: int, reason: str) -> dict[str, Any]:
        self.finished.add(choice)
        return self._entry(choice, "", reason or "stop", None)

    def _entry(self, choice: int, text: str, reason: str | None, extra: Extra | None) -> dict[str, Any]:
        self.open.add(choice)
        entry = {"index": choice, "text": text, "logprobs": None, "finish_reason": reason}
        entry.update(unwrap(extra).get("choice") or {})
        return entry
