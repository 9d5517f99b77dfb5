"""The events of one `GenerateContentResponse`: a whole answer, or one piece of a streamed one. Both have the same shape."""

from __future__ import annotations

import hashlib
from typing import Any

from gateway.core.events import ChoiceFinished, Event, Reasoning, Started, Text, ToolCall, Unknown
from gateway.dialects.gemini_extra import NAME, canonical_reason, usage_of, wrap
from gateway.dialects.json_codec import encode

MAX_CHOICES = 128
_TOP = frozenset({
    "candidates", "usageMetadata", "modelVersion", "responseId", "createTime", "promptFeedback", "modelStatus",
})  # fmt: skip
_CANDIDATE = frozenset({"content", "finishReason", "index", "safetyRatings", "avgLogprobs", "tokenCount"})
_QUIET = ("safetyRatings", "avgLogprobs", "tokenCount")
"""Numbers and fixed words about a candidate: no check needs to read them."""
_CONTENT = frozenset({"parts", "role"})
_TEXT = frozenset({"text", "thought", "thoughtSignature"})
_CALL = frozenset({"functionCall", "thought", "thoughtSignature"})
_FUNCTION_CALL = frozenset({"id", "name", "args"})
_KINDS = frozenset({
    "inlineData", "fileData", "functionResponse", "executableCode", "codeExecutionResult", "toolCall", "toolResponse",
})  # fmt: skip


class ChunkReader:
    """Reads the responses of one answer, in order. `finished` and `seen` are choices; `blocked`: the prompt was refused, so
    there will be none."""

    __slots__ = ("_calls", "_id", "blocked", "finished", "seen", "started")

    def __init__(self) -> None:
        self.started = False
        self.blocked = False
        self.seen: set[int] = set()
        self.finished: set[int] = set()
        self._calls: dict[int, int] = {}
        self._id = ""

    def read(self, body: dict[str, Any]) -> list[Event]:
        """Raises ValueError, KeyError, TypeError or AttributeError when it has another shape."""
        events: list[Event] = []
        if not self.started:
            events.append(self._start(body))
        candidates = body.get("candidates")
        if candidates is not None:
            if type(candidates) is not list:
                raise ValueError("candidates is not a list")
            for candidate in candidates:
                self._candidate(candidate, events)
        if not body.keys() <= _TOP:
            more = {name: value for name, value in body.items() if name not in _TOP and value}
            if more:
                events.append(Unknown({NAME: {"chunk": more}}))
        feedback = body.get("promptFeedback")
        if feedback and feedback.get("blockReason"):
            self.blocked = True
            events.append(ChoiceFinished("content_filter", 0, {NAME: {"feedback": feedback}}))
        usage = body.get("usageMetadata")
        if usage:
            if type(usage) is not dict:
                raise ValueError("usageMetadata is not an object")
            events.append(usage_of(usage))
        return events

    def _start(self, body: dict[str, Any]) -> Started:
        self.started = True
        self._id = str(body.get("responseId") or "")
        extra = {name: body[name] for name in ("createTime", "modelStatus", "promptFeedback") if body.get(name)}
        return Started(self._id, str(body.get("modelVersion") or ""), 0, wrap(extra))

    def _candidate(self, candidate: dict[str, Any], events: list[Event]) -> None:
        index = candidate.get("index", 0)
        if type(index) is not int or not 0 <= index < MAX_CHOICES:
            raise ValueError("a candidate's index is not a small whole number")
        self.seen.add(index)
        content = candidate.get("content")
        if content is not None:
            for part in content.get("parts") or ():
                self._part(part, index, events)
            if not content.keys() <= _CONTENT:
                self._beside(content, _CONTENT, index, events)
        if not candidate.keys() <= _CANDIDATE:
            more = {name: value for name, value in candidate.items() if name not in _CANDIDATE and value}
            if more:
                events.append(Unknown({NAME: {"candidate": more}}, index))
        word = candidate.get("finishReason")
        if word and word != "FINISH_REASON_UNSPECIFIED":
            self.finished.add(index)
            own: dict[str, Any] = {"word": str(word)}
            quiet = {name: candidate[name] for name in _QUIET if candidate.get(name) is not None}
            if quiet:
                own["candidate"] = quiet
            reason = canonical_reason(str(word), calls=bool(self._calls.get(index)))
            events.append(ChoiceFinished(reason, index, {NAME: own}))

    def _part(self, part: dict[str, Any], index: int, events: list[Event]) -> None:
        text = part.get("text")
        call = part.get("functionCall")
        if text is not None and call is None and not part.keys() & _KINDS:
            self._text(part, text, index, events)
        elif call is not None and text is None:
            events.append(self._call(part, call, index))
            if not part.keys() <= _CALL:
                self._beside(part, _CALL, index, events)
            if not call.keys() <= _FUNCTION_CALL:
                self._beside(call, _FUNCTION_CALL, index, events)
        elif part:
            events.append(Unknown({NAME: {"part": part}}, index))

    def _text(self, part: dict[str, Any], text: Any, index: int, events: list[Event]) -> None:
        if type(text) is not str:
            raise ValueError("text is not a string")
        signature = part.get("thoughtSignature")
        if not text:
            if signature:  # it stands for itself, and means something to the model that wrote it
                events.append(Reasoning("", index, {NAME: {"part": part}}))
        else:
            extra = {NAME: {"part": {"thoughtSignature": signature}}} if signature else None
            events.append(Reasoning(text, index, extra) if part.get("thought") is True else Text(text, index, extra))
        if not part.keys() <= _TEXT:
            self._beside(part, _TEXT, index, events)

    def _call(self, part: dict[str, Any], call: dict[str, Any], index: int) -> ToolCall:
        """Arguments come whole. A call without an id gets one, made from what it says, so that other dialects have one."""
        number = self._calls.get(index, 0)
        self._calls[index] = number + 1
        name, args = call["name"], call.get("args")
        if type(name) is not str or (args is not None and type(args) is not dict):
            raise ValueError("a call has no name, or its arguments are no object")
        arguments = encode(args or {}).decode()
        own: dict[str, Any] = {}
        signed = {field: part[field] for field in ("thoughtSignature", "thought") if part.get(field)}
        if signed:
            own["part"] = signed
        identity = call.get("id")
        if not identity:
            made = f"{self._id}/{index}/{number}/{name}/{arguments}".encode("utf-8", "replace")
            identity = f"call_{hashlib.blake2s(made, digest_size=10).hexdigest()}"
            own["made_id"] = True
        return ToolCall(number, arguments, str(identity), name, index, wrap(own))

    def _beside(self, holder: dict[str, Any], known: frozenset[str], index: int, events: list[Event]) -> None:
        """Fields that nobody knows are relayed with what is known, so checks must see them."""
        told = {name: value for name, value in holder.items() if name not in known and value}
        if told:
            events.append(Unknown({NAME: {"beside": told}}, index))
