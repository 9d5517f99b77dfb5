"""What a response says beside what events are made of: kinds of stream events and fields that nobody knows. They are
relayed with what is around them, so checks must see them. They have no place in an answer that is written anew."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from gateway.core.events import Unknown
from gateway.dialects.responses_extra import NAME

_DELTAS = frozenset(
    f"response.{name}.delta"
    for name in (
        "output_text", "refusal", "reasoning_text", "reasoning_summary_text", "function_call_arguments",
        "custom_tool_call_input",
    )
)  # fmt: skip
_STRUCTURE = frozenset(
    f"response.{name}"
    for name in (
        "created", "in_progress", "queued", "content_part.added", "content_part.done", "output_text.done", "refusal.done",
        "reasoning_text.done", "reasoning_summary_text.done", "reasoning_summary_part.added",
        "reasoning_summary_part.done", "output_item.added", "output_item.done", "function_call_arguments.done",
        "custom_tool_call_input.done", "completed", "incomplete",
    )
)  # fmt: skip
"""Events that give shape to what the deltas said."""
_DELTA = frozenset({
    "type", "item_id", "output_index", "content_index", "summary_index", "delta", "sequence_number", "obfuscation",
})  # fmt: skip
_PART = frozenset({"type", "text", "refusal"})
_ITEM = {
    "message": frozenset({"type", "id", "role", "status", "content"}),
    "reasoning": frozenset({"type", "id", "status", "summary", "content", "encrypted_content"}),
    "function_call": frozenset({"type", "id", "status", "call_id", "name", "arguments"}),
    "custom_tool_call": frozenset({"type", "id", "status", "call_id", "name", "input"}),
}


def unread(kind: Any, wire: dict[str, Any]) -> tuple[Unknown, ...]:
    """Of one stream event."""
    if kind in _DELTAS:
        return () if wire.keys() <= _DELTA else _told([_beyond(wire, _DELTA)])
    if kind in _STRUCTURE:
        item = wire.get("item")
        return _told(_of_item(item)) if type(item) is dict else ()
    return (Unknown({NAME: {"event": wire}}),)


def unread_items(items: Sequence[dict[str, Any]]) -> tuple[Unknown, ...]:
    """Of a whole response."""
    return _told(told for item in items for told in _of_item(item))


def _of_item(item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    known = _ITEM.get(item.get("type", ""))
    if known is None:
        return  # given as it is
    yield _beyond(item, known)
    for name in ("content", "summary"):
        for part in item.get(name) or ():
            if type(part) is dict:
                yield _beyond(part, _PART)


def _beyond(fields: dict[str, Any], known: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in known and value}


def _told(found: Iterable[dict[str, Any]]) -> tuple[Unknown, ...]:
    told = [fields for fields in found if fields]
    return (Unknown({NAME: {"beside": told}}),) if told else ()
