"""Output items of a response under way: what each is called on the wire, how it begins, goes on and ends."""

from __future__ import annotations

from typing import Any

Wire = dict[str, Any]
"""One stream event, as JSON says it, before it gets its number."""


_FUNCTION = ("function_call", "arguments", "function_call_arguments")
_CUSTOM = ("custom_tool_call", "input", "custom_tool_call_input")


class MessageItem:
    """What the assistant says: one item with one part, a text or a refusal."""

    def __init__(self, id: str, index: int, *, refusal: bool) -> None:
        self.id, self.index, self.refusal = id, index, refusal
        self._pieces: list[str] = []

    def _part(self, text: str) -> Wire:
        if self.refusal:
            return {"type": "refusal", "refusal": text}
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}

    def item(self, status: str) -> Wire:
        content = [self._part("".join(self._pieces))] if status != "in_progress" else []
        return {"id": self.id, "type": "message", "status": status, "role": "assistant", "content": content}

    def begin(self) -> list[Wire]:
        return [
            {"type": "response.output_item.added", "output_index": self.index, "item": self.item("in_progress")},
            {"type": "response.content_part.added", **self._at(), "part": self._part("")},
        ]

    def add(self, text: str) -> Wire:
        self._pieces.append(text)
        if self.refusal:
            return {"type": "response.refusal.delta", **self._at(), "delta": text}
        return {"type": "response.output_text.delta", **self._at(), "delta": text, "logprobs": []}

    def end(self, status: str) -> list[Wire]:
        item = self.item(status)
        text = "".join(self._pieces)
        done: Wire = {"type": "response.output_text.done", **self._at(), "text": text, "logprobs": []}
        if self.refusal:
            done = {"type": "response.refusal.done", **self._at(), "refusal": text}
        return [
            done,
            {"type": "response.content_part.done", **self._at(), "part": item["content"][0]},
            {"type": "response.output_item.done", "output_index": self.index, "item": item},
        ]

    def _at(self) -> Wire:
        return {"item_id": self.id, "output_index": self.index, "content_index": 0}


class ReasoningItem:
    """Reasoning as a model gave it (a `content` part in this API), or a `summary` of it, from servers that tell no more."""

    def __init__(self, id: str, index: int, *, summary: bool = False) -> None:
        self.id, self.index, self.summary = id, index, summary
        self.encrypted: str | None = None
        """What the server wants back with the item. It belongs to the item's id."""
        self._pieces: list[str] = []

    def _part(self, text: str) -> Wire:
        return {"type": "summary_text" if self.summary else "reasoning_text", "text": text}

    def item(self, status: str) -> Wire:
        text = "".join(self._pieces)
        parts = [self._part(text)] if text and status != "in_progress" else []
        item: Wire = {"id": self.id, "type": "reasoning", "status": status}
        item["summary"], item["content"] = (parts, []) if self.summary else ([], parts)
        return item if self.encrypted is None else {**item, "encrypted_content": self.encrypted}

    def begin(self) -> list[Wire]:
        item = self.item("in_progress")
        return [
            {"type": "response.output_item.added", "output_index": self.index, "item": item},
            {"type": f"response.{self._kind('part')}.added", **self._at(), "part": self._part("")},
        ]

    def add(self, text: str) -> Wire:
        self._pieces.append(text)
        return {"type": f"response.{self._kind('text')}.delta", **self._at(), "delta": text}

    def end(self, status: str) -> list[Wire]:
        text = "".join(self._pieces)
        return [
            {"type": f"response.{self._kind('text')}.done", **self._at(), "text": text},
            {"type": f"response.{self._kind('part')}.done", **self._at(), "part": self._part(text)},
            {"type": "response.output_item.done", "output_index": self.index, "item": self.item(status)},
        ]

    def _kind(self, what: str) -> str:
        if self.summary:
            return f"reasoning_summary_{what}"
        return "content_part" if what == "part" else "reasoning_text"

    def _at(self) -> Wire:
        at = {"item_id": self.id, "output_index": self.index}
        return {**at, "summary_index" if self.summary else "content_index": 0}


class CallItem:
    """One call of a function or of a custom tool. Several may be open at once: their pieces can come mixed."""

    def __init__(self, id: str, index: int, call_id: str, name: str, *, custom: bool = False) -> None:
        self.id, self.index = id, index
        self._type, self._field, self._event = _CUSTOM if custom else _FUNCTION
        self._call_id, self._name = call_id, name
        self._pieces: list[str] = []

    def item(self, status: str) -> Wire:
        return {
            "id": self.id,
            "type": self._type,
            "status": status,
            "call_id": self._call_id,
            "name": self._name,
            self._field: "".join(self._pieces),
        }

    def begin(self) -> list[Wire]:
        return [{"type": "response.output_item.added", "output_index": self.index, "item": self.item("in_progress")}]

    def add(self, text: str) -> Wire:
        self._pieces.append(text)
        at = {"item_id": self.id, "output_index": self.index}
        return {"type": f"response.{self._event}.delta", **at, "delta": text}

    def end(self, status: str) -> list[Wire]:
        item = self.item(status)
        at = {"item_id": self.id, "output_index": self.index}
        told = {"name": self._name, self._field: item[self._field]}
        return [
            {"type": f"response.{self._event}.done", **at, **told},
            {"type": "response.output_item.done", "output_index": self.index, "item": item},
        ]


Item = MessageItem | ReasoningItem | CallItem

TEXT_DELTAS = frozenset(
    f"response.{name}.delta"
    for name in (
        "output_text",
        "refusal",
        "reasoning_text",
        "reasoning_summary_text",
        "function_call_arguments",
        "custom_tool_call_input",
    )
)
"""Events that add to an item's own text."""


def item_of(added: Wire, index: int) -> Item | None:
    """The item that a server began. None for types that are told whole or not at all."""
    match added:
        case {"type": "message", "id": str(id)}:
            return MessageItem(id, index, refusal=False)
        case {"type": "reasoning", "id": str(id)}:
            return ReasoningItem(id, index, summary=True)
        case {
            "type": ("function_call" | "custom_tool_call") as kind,
            "id": str(id),
            "call_id": str(call),
            "name": str(name),
        }:
            return CallItem(id, index, call, name, custom=kind == "custom_tool_call")
    return None
