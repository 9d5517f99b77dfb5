"""Anthropic event streams, read: blocks and deltas become frames.

Events that say nothing by themselves (a block begins, a block ends) wait and travel with the next event that does, so a
frame's `raw` may be several payloads, one to a line. That way a check that changes or holds a frame also holds the
structure around it, and the outlet never sends half of a block.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.core.errors import UpstreamFailed
from gateway.core.events import (
    ChoiceFinished,
    Event,
    Extra,
    Frame,
    Reasoning,
    Started,
    Text,
    ToolCall,
    Unknown,
    Usage,
)
from gateway.dialects.anthropic_extra import NAME, canonical_reason, usage_of, wrap
from gateway.dialects.anthropic_unknown import UnknownBlock, unread
from gateway.dialects.gathered import Gathered
from gateway.dialects.json_codec import encode
from gateway.dialects.sse_inlet import SseInlet
from gateway.dialects.sse_parser import MAX_EVENT
from gateway.dialects.upstream_faults import in_stream
from gateway.dialects.whole_inlet import WholeInlet

_MESSAGE = frozenset({"id", "model", "usage", "content", "stop_reason", "stop_sequence", "type", "role"})
_TOOL = frozenset({"type", "id", "name", "input"})


class _Call:
    """One tool_use block under way."""

    __slots__ = ("number", "said")

    def __init__(self, number: int) -> None:
        self.number = number
        self.said = False


class StreamInlet(SseInlet):
    """Without `message_stop` the answer is whole only if its stop reason was told."""

    def __init__(self, read_whole: Any) -> None:
        super().__init__(NAME, lambda: WholeInlet(NAME, read_whole))
        self._gathered = Gathered(NAME, "a block")
        self._blocks: dict[Any, str | _Call | UnknownBlock] = {}
        self._calls = 0
        self._usage: dict[str, Any] = {}
        self._started = False
        self._stopped = False

    def _is_whole(self) -> bool:
        return self._stopped

    def _frame(self, name: bytes, payload: bytes) -> Frame | None:
        try:
            event = self._gathered.decode(payload)
        except UpstreamFailed as unreadable:
            return self._fail(unreadable)
        try:
            kind = event.get("type")
            if kind == "error" or name == b"error":
                return self._fail(in_stream(event))
            events = self._events(kind, event)
        except (AttributeError, KeyError, TypeError, ValueError):
            return self._fail(UpstreamFailed("The upstream's stream could not be read: an event has an unknown shape."))
        if kind == "message_stop":
            return self._end() if self._started else self._cut()
        if kind == "ping":
            return None
        try:
            return self._gathered.frame(events, payload)
        except UpstreamFailed as too_large:
            return self._fail(too_large)

    def _events(self, kind: Any, event: dict[str, Any]) -> Sequence[Event]:
        if kind == "content_block_delta":
            delta = event["delta"]
            return (*self._delta(event["index"], delta), *unread(event, delta))
        if kind == "content_block_start":
            block = event["content_block"]
            return (*self._begin(event["index"], block), *unread(event, block))
        if kind == "content_block_stop":
            return self._stop(event["index"])
        if kind == "message_delta":
            return self._message_delta(event)
        if kind == "message_start":
            return self._message_start(event["message"])
        if kind in ("message_stop", "ping"):
            return ()
        return (Unknown({NAME: {"event": event}}),)

    def _message_start(self, message: dict[str, Any]) -> Sequence[Event]:
        self._started = True
        extra: Extra = {name: message[name] for name in message if name not in _MESSAGE and message[name] is not None}
        started = Started(str(message.get("id") or ""), str(message.get("model") or ""), 0, wrap(extra))
        self._usage = dict(message.get("usage") or {})
        return (started, usage_of(self._usage)) if self._usage else (started,)

    def _message_delta(self, event: dict[str, Any]) -> Sequence[Event]:
        delta = event.get("delta") or {}
        self._usage = {**self._usage, **{k: v for k, v in (event.get("usage") or {}).items() if v is not None}}
        beside = {name: event[name] for name in event if name not in ("type", "delta", "usage")}
        usage: Usage = usage_of(dict(self._usage), beside)
        reason = delta.get("stop_reason")
        if not reason:
            return (usage,)
        self._stopped = True
        return (ChoiceFinished(canonical_reason(str(reason)), 0, {NAME: {"stop": delta}}), usage)

    def _begin(self, index: Any, block: dict[str, Any]) -> Sequence[Event]:
        kind = block.get("type")
        if kind == "text":
            self._blocks[index] = kind
            return text_events(block)
        if kind == "thinking":
            self._blocks[index] = kind
            return thinking_events(block)
        if kind == "tool_use":
            call = _Call(self._calls)
            self._calls += 1
            self._blocks[index] = call
            given = block.get("input")
            call.said = bool(given)
            return (tool_event(block, call.number, encode(given).decode() if given else ""),)
        self._blocks[index] = UnknownBlock(block)
        return ()

    def _delta(self, index: Any, delta: dict[str, Any]) -> Sequence[Event]:
        kind = delta.get("type")
        block = self._blocks[index]
        if type(block) is UnknownBlock:
            block.add(delta)
            if block.size > MAX_EVENT:
                raise ValueError("block too large")
            return ()
        if kind == "text_delta":
            return (Text(delta["text"]),) if delta["text"] else ()
        if kind == "input_json_delta" and type(block) is _Call:
            block.said = block.said or bool(delta["partial_json"])
            return (ToolCall(block.number, delta["partial_json"]),) if delta["partial_json"] else ()
        if kind == "thinking_delta":
            return (Reasoning(delta["thinking"]),) if delta["thinking"] else ()
        if kind == "signature_delta":
            return (Reasoning("", 0, {NAME: {"signatures": [delta["signature"]]}}),)
        if kind == "citations_delta":
            return (Text("", 0, {NAME: {"citations": [delta["citation"]]}}),)
        return (Unknown({NAME: {"delta": delta}}),)

    def _stop(self, index: Any) -> Sequence[Event]:
        block = self._blocks.pop(index)
        if type(block) is UnknownBlock:
            return (Unknown({NAME: {"block": block.whole()}}),)
        if type(block) is _Call and not block.said:
            return (ToolCall(block.number, "{}"),)  # a call without arguments sends no piece of them
        return ()


def text_events(block: dict[str, Any]) -> Sequence[Event]:
    """A text block, or what one begins with."""
    text, citations = block.get("text") or "", block.get("citations")
    if not text and not citations:
        return ()
    return (Text(text, 0, {NAME: {"citations": citations}} if citations else None),)


def thinking_events(block: dict[str, Any]) -> Sequence[Event]:
    text, signature = block.get("thinking") or "", block.get("signature")
    if not text and not signature:
        return ()
    return (Reasoning(text, 0, {NAME: {"signatures": [signature]}} if signature else None),)


def tool_event(block: dict[str, Any], number: int, arguments: str) -> ToolCall:
    more = {name: block[name] for name in block if name not in _TOOL and block[name] is not None}
    return ToolCall(number, arguments, str(block["id"]), str(block["name"]), 0, wrap({"block": more} if more else None))
