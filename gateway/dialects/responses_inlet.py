"""Responses of an upstream, read: whole, or as an event stream.

As in `anthropic_inlet`, stream events that say nothing by themselves wait and travel with the next one that does, so a
frame's `raw` may be several payloads, one to a line, and a check that holds a frame also holds the structure around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.core.errors import UpstreamFailed
from gateway.core.events import (
    ChoiceFinished,
    Event,
    Finished,
    Frame,
    Reasoning,
    Started,
    Text,
    ToolCall,
    Unknown,
)
from gateway.dialects import openai_extra
from gateway.dialects.gathered import Gathered
from gateway.dialects.responses_extra import NAME, usage_of
from gateway.dialects.responses_unread import unread, unread_items
from gateway.dialects.sse_inlet import SseInlet
from gateway.dialects.upstream_faults import in_stream
from gateway.dialects.whole_inlet import WholeInlet

_REASONS = {"max_output_tokens": "length"}
_CALLS = {"function_call": "arguments", "custom_tool_call": "input"}
_ENDS = frozenset({"response.completed", "response.incomplete"})
_SUMMARY, _CONTENT = {NAME: {"as": "summary"}}, {NAME: {"as": "content"}}
_REFUSAL = openai_extra.wrap({"refusal": True})


def read_response(body: dict[str, Any]) -> Sequence[Event]:
    """Raises ValueError, KeyError, TypeError or AttributeError when it has another shape."""
    if body.get("status") == "failed":
        raise ValueError("it failed without an error")
    events: list[Event] = [_started(body)]
    calls = 0
    for item in body["output"]:
        kind = item["type"]
        if kind == "message":
            for part in item["content"]:
                refused = part["type"] == "refusal"
                events.append(Text(part["refusal" if refused else "text"], 0, _REFUSAL if refused else None))
        elif kind == "reasoning":
            for name, extra in (("summary", _SUMMARY), ("content", _CONTENT)):
                events.extend(Reasoning(part["text"], 0, extra) for part in item.get(name) or ())
            events.extend(_sealed(item))
        elif kind in _CALLS:
            events.append(_call(item, calls, item[_CALLS[kind]]))
            calls += 1
        else:
            events.append(Unknown({NAME: {"item": item}}))
    events.extend(unread_items(body["output"]))
    events.extend(_ended(body, calls > 0))
    return events


class StreamInlet(SseInlet):
    """Whole only with one of the events that end a response."""

    def __init__(self) -> None:
        super().__init__(NAME, lambda: WholeInlet(NAME, read_response))
        self._gathered = Gathered(NAME, "an item")
        self._calls: dict[str, tuple[int, bool]] = {}
        """Item id to the call's number and whether any of its arguments was told."""

    def _frame(self, name: bytes, payload: bytes) -> Frame | None:
        if payload == b"[DONE]":
            return None
        try:
            wire = self._gathered.decode(payload)
        except UpstreamFailed as unreadable:
            return self._fail(unreadable)
        try:
            kind = wire.get("type")
            if kind == "error" or wire.get("error"):
                return self._fail(in_stream(wire))
            if kind == "response.failed":
                return self._fail(in_stream(wire["response"]))
            if kind in _ENDS:
                events = _ended(wire["response"], bool(self._calls))
            else:
                events = (*self._events(kind, wire), *unread(kind, wire))
        except (AttributeError, KeyError, TypeError, ValueError):
            return self._fail(UpstreamFailed("The upstream's stream could not be read: an event has an unknown shape."))
        self._done = kind in _ENDS
        try:
            return self._gathered.frame(events, payload)
        except UpstreamFailed as too_large:
            return self._fail(too_large)

    def _events(self, kind: Any, wire: dict[str, Any]) -> Sequence[Event]:
        match kind:
            case "response.output_text.delta":
                return (Text(wire["delta"]),) if wire["delta"] else ()
            case "response.refusal.delta":
                return (Text(wire["delta"], 0, _REFUSAL),)
            case "response.reasoning_text.delta":
                return (Reasoning(wire["delta"], 0, _CONTENT),)
            case "response.reasoning_summary_text.delta":
                return (Reasoning(wire["delta"], 0, _SUMMARY),)
            case "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta":
                number, _ = self._calls[wire["item_id"]]
                self._calls[wire["item_id"]] = number, True
                return (ToolCall(number, wire["delta"]),) if wire["delta"] else ()
            case "response.created":
                return (_started(wire["response"]),)
            case "response.output_item.added" if wire["item"]["type"] in _CALLS:
                item = wire["item"]
                given = item.get(_CALLS[item["type"]]) or ""
                number = len(self._calls)
                self._calls[item["id"]] = number, bool(given)
                return (_call(item, number, given),)
            case "response.output_item.done":
                return self._item(wire["item"])
        return ()

    def _item(self, item: dict[str, Any]) -> Sequence[Event]:
        """What only the whole item tells."""
        kind = item["type"]
        if kind == "message":
            return ()
        if kind == "reasoning":
            return _sealed(item)
        if kind in _CALLS:
            number, told = self._calls[item["id"]]
            arguments = item.get(_CALLS[kind])
            return (ToolCall(number, arguments),) if arguments and not told else ()
        return (Unknown({NAME: {"item": item}}),)


def _started(body: dict[str, Any]) -> Started:
    created = body.get("created_at")
    return Started(str(body.get("id") or ""), str(body.get("model") or ""), int(created) if created else 0)


def _call(item: dict[str, Any], number: int, arguments: str) -> ToolCall:
    extra = {NAME: {"type": "custom"}} if item["type"] == "custom_tool_call" else None
    return ToolCall(number, arguments, str(item["call_id"]), str(item["name"]), 0, extra)


def _sealed(item: dict[str, Any]) -> Sequence[Event]:
    """Encrypted reasoning comes with the whole item, and belongs to its id."""
    if not item.get("encrypted_content"):
        return ()
    sealed = {"id": item["id"], "encrypted_content": item["encrypted_content"]}
    return (Reasoning("", 0, {NAME: {"sealed": sealed}}),)


def _ended(body: dict[str, Any], calls: bool) -> Sequence[Event]:
    events: list[Event] = []
    why = (body.get("incomplete_details") or {}).get("reason") if body.get("status") == "incomplete" else None
    reason = _REASONS.get(why, str(why)) if why else ("tool_calls" if calls else "stop")
    events.append(ChoiceFinished(reason))
    if body.get("usage"):
        events.append(usage_of(body["usage"]))
    events.append(Finished())
    return events
