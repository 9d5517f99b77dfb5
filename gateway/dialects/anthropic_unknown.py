"""Content blocks no check reads (server tools and their results, redacted thinking, whatever comes next): put together as
they stream, so that they can be held, folded and given back whole."""

from __future__ import annotations

from typing import Any

from gateway.dialects.json_codec import UNREADABLE, decode


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
