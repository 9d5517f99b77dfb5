"""Output items of a response under way: what each is called on the wire, how it begins, goes on and ends."""

from __future__ import annotations

from typing import Any

Wire = dict[str, Any]
"""One stream event, as JSON says it, before it gets its number."""


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
    """Reasoning as a model gave it, not a summary of it: that is a `content` part of its own type in this API."""

    def __init__(self, id: str, index: int) -> None:
        self.id, self.index = id, index
        self._pieces: list[str] = []

    def item(self, status: str) -> Wire:
        text = "".join(self._pieces)
        content = [{"type": "reasoning_text", "text": text}] if status != "in_progress" else []
        return {"id": self.id, "type": "reasoning", "status": status, "summary": [], "content": content}

    def begin(self) -> list[Wire]:
        part = {"type": "reasoning_text", "text": ""}
        return [
            {"type": "response.output_item.added", "output_index": self.index, "item": self.item("in_progress")},
            {"type": "response.content_part.added", **self._at(), "part": part},
        ]

    def add(self, text: str) -> Wire:
        self._pieces.append(text)
        return {"type": "response.reasoning_text.delta", **self._at(), "delta": text}

    def end(self, status: str) -> list[Wire]:
        item = self.item(status)
        return [
            {"type": "response.reasoning_text.done", **self._at(), "text": item["content"][0]["text"]},
            {"type": "response.content_part.done", **self._at(), "part": item["content"][0]},
            {"type": "response.output_item.done", "output_index": self.index, "item": item},
        ]

    def _at(self) -> Wire:
        return {"item_id": self.id, "output_index": self.index, "content_index": 0}


class CallItem:
    """One call of a function. Several may be open at once: their pieces can come mixed."""

    def __init__(self, id: str, index: int, call_id: str, name: str) -> None:
        self.id, self.index = id, index
        self._call_id, self._name = call_id, name
        self._pieces: list[str] = []

    def item(self, status: str) -> Wire:
        return {
            "id": self.id,
            "type": "function_call",
            "status": status,
            "call_id": self._call_id,
            "name": self._name,
            "arguments": "".join(self._pieces),
        }

    def begin(self) -> list[Wire]:
        return [{"type": "response.output_item.added", "output_index": self.index, "item": self.item("in_progress")}]

    def add(self, text: str) -> Wire:
        self._pieces.append(text)
        at = {"item_id": self.id, "output_index": self.index}
        return {"type": "response.function_call_arguments.delta", **at, "delta": text}

    def end(self, status: str) -> list[Wire]:
        item = self.item(status)
        at = {"item_id": self.id, "output_index": self.index}
        told = {"name": self._name, "arguments": item["arguments"]}
        return [
            {"type": "response.function_call_arguments.done", **at, **told},
            {"type": "response.output_item.done", "output_index": self.index, "item": item},
        ]


Item = MessageItem | ReasoningItem | CallItem
