"""The events of a whole Anthropic message."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.core.events import ChoiceFinished, Event, Finished, Started, Unknown
from gateway.dialects.anthropic_extra import NAME, canonical_reason, usage_of, wrap
from gateway.dialects.anthropic_inlet import text_events, thinking_events, tool_event
from gateway.dialects.anthropic_unknown import beside
from gateway.dialects.json_codec import encode

_KNOWN = frozenset({"id", "type", "role", "model", "content", "usage", "stop_reason", "stop_sequence", "stop_details"})
_STOP = ("stop_reason", "stop_sequence", "stop_details")


def read_message(body: dict[str, Any]) -> Sequence[Event]:
    """Raises ValueError, KeyError, TypeError or AttributeError when it has another shape."""
    extra = {name: body[name] for name in body if name not in _KNOWN and body[name] is not None}
    events: list[Event] = [Started(str(body.get("id") or ""), str(body.get("model") or ""), 0, wrap(extra))]
    calls = 0
    for block in body["content"]:
        kind = block["type"]
        if kind == "text":
            events.extend(text_events(block))
        elif kind == "thinking":
            events.extend(thinking_events(block))
        elif kind == "tool_use":
            events.append(tool_event(block, calls, encode(block.get("input") or {}).decode()))
            calls += 1
        else:
            events.append(Unknown({NAME: {"block": block}}))
    told = [more for block in body["content"] if (more := beside(block))]
    if told:
        events.append(Unknown({NAME: {"beside": told}}))
    if body.get("stop_reason"):
        stop = {name: body.get(name) for name in _STOP if name in body}
        events.append(ChoiceFinished(canonical_reason(str(body["stop_reason"])), 0, {NAME: {"stop": stop}}))
    if body.get("usage"):
        events.append(usage_of(body["usage"]))
    events.append(Finished())
    return events
