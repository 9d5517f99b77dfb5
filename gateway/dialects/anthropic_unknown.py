"""Content blocks no check reads (server tools and their results, redacted thinking, whatever comes next): put together as
they stream, so that they can be held, folded and given back whole. And fields that nobody knows on blocks that are
known: they are relayed with them, so checks must see them."""

from __future__ import annotations

from typing import Any

from gateway.core.events import Unknown
from gateway.dialects.anthropic_extra import NAME
from gateway.dialects.json_codec import UNREADABLE, decode

_READ = {
    "text": frozenset({"type", "text", "citations"}),
    "thinking": frozenset({"type", "thinking", "signature"}),
    "text_delta": frozenset({"type", "text"}),
    "thinking_delta": frozenset({"type", "thinking"}),
    "input_json_delta": frozenset({"type", "partial_json"}),
    "signature_delta": frozenset({"type", "signature"}),
    "citations_delta": frozenset({"type", "citation"}),
}
"""Blocks and deltas to the fields that events are made of. Of `tool_use` all are."""


def unread(event: dict[str, Any], inner: dict[str, Any]) -> tuple[Unknown, ...]:
    """What a stream event of a block, and the block or delta inside, say beside what events are made of."""
    if len(event) == 3 and len(inner) <= 2:
        return ()
    told = {name: event[name] for name in event if name not in ("type", "index", "delta", "content_block")}
    told.update(beside(inner))
    return (Unknown({NAME: {"beside": told}}),) if told else ()


def beside(block: dict[str, Any]) -> dict[str, Any]:
    """The fields of a block or delta that no event is made of."""
    read = _READ.get(block.get("type", ""))
    return {} if read is None else {name: value for name, value in block.items() if name not in read and value}


class UnknownBlock:
    """One block under way. `size` is the characters its deltas added."""

    __slots__ = ("_block", "_json", "size")

    def __init__(self, block: dict[str, Any]) -> None:
        self._block = dict(block)
        self._json: list[str] = []
        self.size = 0

    def add(self, delta: dict[str, Any]) -> None:
        if delta.get("type") == "input_json_delta":
            self.size += len(delta["partial_json"])
            self._json.append(delta["partial_json"])
            return
        for name, value in delta.items():
            if name == "type":
                continue
            before = self._block.get(name)
            if isinstance(value, str):
                self.size += len(value)
                self._block[name] = (before if isinstance(before, str) else "") + value
            else:
                self._block[name] = value

    def whole(self) -> dict[str, Any]:
        if self._json:
            self._block["input"] = tool_input("".join(self._json))
        return self._block


def tool_input(arguments: str) -> dict[str, Any]:
    """A tool call's arguments as the object this API wants. What is no JSON object (a model cut short or astray) goes under
    the key that Anthropic's documentation of fine-grained tool streaming suggests, so that nothing is lost."""
    if not arguments:
        return {}
    try:
        value = decode(arguments.encode("utf-8", "replace"))
    except UNREADABLE:
        value = None
    return value if type(value) is dict else {"INVALID_JSON": arguments}
