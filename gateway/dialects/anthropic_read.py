"""Anthropic requests: what the gateway itself must know of them, checked; everything else stays as it came."""

from __future__ import annotations

from typing import Any

from gateway.core.errors import BadRequest
from gateway.core.request import Body, Operation, Request, Role, Slot, SlotKind
from gateway.dialects.reading import flag, items, model_of, wrong

_ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant", "system": "system"}


def read(operation: Operation, body: Body) -> Request:
    """Raises `BadRequest` naming the field. `body` becomes the request's own and is not copied."""
    if operation not in ("chat", "count_tokens"):
        raise BadRequest(f"There is no {operation} in this API.")
    model = model_of(body)
    if operation == "chat":
        _max_tokens(body)
    slots: list[Slot] = []
    if "system" in body:
        _system(body, slots)
    for at, message in enumerate(items(body, "messages")):
        if type(message) is not dict:
            raise wrong(f"messages[{at}]", "an object", message)
        given = message.get("role")
        role = _ROLES.get(given) if type(given) is str else None
        if role is None:
            raise BadRequest(f"messages[{at}].role must be user or assistant.", param=f"messages[{at}].role")
        content = message.get("content")
        path = f"messages[{at}].content"
        if type(content) is str:
            slots.append(Slot(role, "text", at, message, "content", path))
        elif type(content) is list:
            for number, block in enumerate(content):
                _block(block, role, at, f"{path}[{number}]", slots)
        else:
            raise wrong(path, "a string or a list of blocks", content)
    return Request(
        dialect="anthropic",
        operation=operation,
        body=body,
        model=model,
        stream=flag(body, "stream") and operation == "chat",
        include_usage=True,
        slots=slots,
    )


def _max_tokens(body: Body) -> None:
    value = body.get("max_tokens")
    if value is None:
        raise BadRequest("max_tokens is missing.", param="max_tokens")
    if type(value) is not int or value < 0:
        raise BadRequest("max_tokens must be a whole number, 0 or more.", param="max_tokens")


def _system(body: Body, slots: list[Slot]) -> None:
    system = body["system"]
    if type(system) is str:
        slots.append(Slot("system", "text", 0, body, "system", "system"))
    elif type(system) is list:
        for at, block in enumerate(system):
            _block(block, "system", 0, f"system[{at}]", slots)
    elif system is not None:
        raise wrong("system", "a string or a list of text blocks", system)


def _block(block: Any, role: Role, turn: int, path: str, slots: list[Slot]) -> None:
    """One content block. Types that are not ours stay as they came; `redacted_thinking` is opaque by intent."""
    if type(block) is not dict:
        raise wrong(path, "an object", block)
    named = block.get("type")
    if type(named) is not str:
        raise wrong(f"{path}.type", "a string", named)
    if named == "text":
        _string(block, "text", role, "text", turn, path, slots)
    elif named == "thinking":
        # Signed over its text: replacing any of it may make the provider reject the turn. It is a slot all the same,
        # because a replayed thought can hold the user's own values, and those must not leave.
        _string(block, "thinking", role, "text", turn, path, slots)
    elif named == "tool_use":
        _leaves(block.get("input"), turn, f"{path}.input", slots)
    elif named == "tool_result":
        _nested(block, "tool", "tool_result", turn, path, slots)
    elif named == "document":
        _document(block, turn, path, slots)
    elif named == "search_result":
        _nested(block, "retrieved", "text", turn, path, slots)


def _string(block: Body, key: str, role: Role, kind: SlotKind, turn: int, path: str, slots: list[Slot]) -> None:
    if type(block.get(key)) is not str:
        raise wrong(f"{path}.{key}", "a string", block.get(key))
    slots.append(Slot(role, kind, turn, block, key, f"{path}.{key}"))


def _nested(holder: Body, role: Role, kind: SlotKind, turn: int, path: str, slots: list[Slot]) -> None:
    """A `content` that is a string or a list of blocks, one level down. Deeper levels do not exist in this API."""
    content = holder.get("content")
    if content is None:
        return
    if type(content) is str:
        slots.append(Slot(role, kind, turn, holder, "content", f"{path}.content"))
        return
    if type(content) is not list:
        raise wrong(f"{path}.content", "a string or a list of blocks", content)
    for at, block in enumerate(content):
        where = f"{path}.content[{at}]"
        if type(block) is not dict:
            raise wrong(where, "an object", block)
        if block.get("type") == "text":
            _string(block, "text", role, kind, turn, where, slots)
        elif block.get("type") == "document":
            _document(block, turn, where, slots)
        elif block.get("type") == "search_result" and type(block.get("content")) is list:
            for number, inner in enumerate(block["content"]):
                if type(inner) is dict and type(inner.get("text")) is str:
                    slots.append(Slot("retrieved", "text", turn, inner, "text", f"{where}.content[{number}].text"))


def _document(block: Body, turn: int, path: str, slots: list[Slot]) -> None:
    """Plain-text documents, and what is said about any document. PDFs and files cannot be read here."""
    for key in ("title", "context"):
        if type(block.get(key)) is str:
            slots.append(Slot("retrieved", "text", turn, block, key, f"{path}.{key}"))
    source = block.get("source")
    if type(source) is not dict:
        return
    if source.get("type") == "text" and type(source.get("data")) is str:
        slots.append(Slot("retrieved", "text", turn, source, "data", f"{path}.source.data"))
    elif source.get("type") == "content":
        content = source.get("content")
        if type(content) is str:
            slots.append(Slot("retrieved", "text", turn, source, "content", f"{path}.source.content"))
        for at, inner in enumerate(content if type(content) is list else ()):
            if type(inner) is dict and type(inner.get("text")) is str:
                slots.append(Slot("retrieved", "text", turn, inner, "text", f"{path}.source.content[{at}].text"))


def _leaves(value: Any, turn: int, path: str, slots: list[Slot]) -> None:
    """Every string in a tool call's input, in reading order. A stack, not recursion: the client sets the depth."""
    stack: list[tuple[Any, Any, Any, str]] = [(None, None, value, path)]
    while stack:
        holder, key, node, where = stack.pop()
        if type(node) is dict:
            stack.extend([(node, name, item, f"{where}.{name}") for name, item in node.items()][::-1])
        elif type(node) is list:
            stack.extend([(node, at, item, f"{where}[{at}]") for at, item in enumerate(node)][::-1])
        elif type(node) is str and holder is not None:
            slots.append(Slot("assistant", "tool_arguments", turn, holder, key, where))
