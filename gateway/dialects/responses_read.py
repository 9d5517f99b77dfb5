"""Responses requests: what the gateway itself must know of them, checked; everything else stays as it came.

Stateless: nothing is kept here, so whatever refers to something kept is refused by name. Tools and items of types that are
not known stay in the body untouched.
"""

from __future__ import annotations

from typing import Any

from gateway.core.errors import BadRequest
from gateway.core.request import Body, Operation, Request, Role, Slot, SlotKind
from gateway.dialects.reading import flag, model_of, wrong
from gateway.dialects.responses_extra import NAME

_ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}
_TEXTS = {"input_text": "text", "output_text": "text", "text": "text", "refusal": "refusal", "summary_text": "text"}
_TEXTS["reasoning_text"] = "text"
_RESULTS = ("output", "stdout", "stderr")
"""Where the results of tools hold text."""


def read(operation: Operation, body: Body) -> Request:
    """Raises `BadRequest` naming the field. `body` becomes the request's own and is not copied."""
    if operation not in ("chat", "input_tokens"):
        raise BadRequest(f"There is no {operation} in this API.")
    model = model_of(body)
    _stateless(body)
    slots: list[Slot] = []
    instructions = body.get("instructions")
    if type(instructions) is str:
        slots.append(Slot("system", "text", 0, body, "instructions", "instructions"))
    elif instructions is not None:
        raise wrong("instructions", "a string", instructions)
    for name, kind in (("tools", list), ("text", dict), ("reasoning", dict)):
        if body.get(name) is not None and type(body[name]) is not kind:
            raise wrong(name, "a list" if kind is list else "an object", body[name])
    most = body.get("max_output_tokens")
    if most is not None and (type(most) is not int or most < 1):
        raise BadRequest("max_output_tokens must be a whole number, 1 or more.", param="max_output_tokens")
    _input(body, slots)
    return Request(
        dialect=NAME,
        operation=operation,
        body=body,
        model=model,
        stream=flag(body, "stream") and operation == "chat",
        include_usage=True,
        slots=slots,
    )


def _stateless(body: Body) -> None:
    """`store` has to be false or left out; left out, it means true at OpenAI, where nothing but a later reference shows the
    difference, and every later reference is refused here."""
    if flag(body, "store"):
        raise BadRequest("store must be false: this gateway keeps no responses.", param="store")
    if flag(body, "background"):
        raise BadRequest("background must be false: this gateway keeps no responses.", param="background")
    for name in ("previous_response_id", "conversation"):
        if body.get(name) is not None:
            raise BadRequest(
                f"{name} cannot be used: this gateway keeps no responses. Send the whole conversation in input.",
                param=name,
            )


def _input(body: Body, slots: list[Slot]) -> None:
    given = body.get("input")
    if type(given) is str:
        slots.append(Slot("user", "text", 0, body, "input", "input"))
        return
    if type(given) is not list:
        if given is None:
            raise BadRequest("input is missing.", param="input")
        raise wrong("input", "a string or a list of items", given)
    if not given:
        raise BadRequest("input must not be empty.", param="input")
    for at, item in enumerate(given):
        _item(item, at, f"input[{at}]", slots)


def _item(item: Any, turn: int, path: str, slots: list[Slot]) -> None:
    if type(item) is not dict:
        raise wrong(path, "an object", item)
    named = item.get("type", "message")
    if type(named) is not str:
        raise wrong(f"{path}.type", "a string", named)
    if named == "message":
        _message(item, turn, path, slots)
    elif named == "item_reference":
        raise BadRequest(
            f"{path} refers to a stored item; this gateway keeps none. Send the item itself, as SDKs do with store: false.",
            param=path,
        )
    elif named in ("function_call", "custom_tool_call"):
        key = "arguments" if named == "function_call" else "input"
        if type(item.get(key)) is not str:
            raise wrong(f"{path}.{key}", "a string", item.get(key))
        slots.append(Slot("assistant", "tool_arguments", turn, item, key, f"{path}.{key}"))
    elif named == "reasoning":
        # A replayed thought can hold the user's own values, so it is read like any text. Encrypted ones stay as they are.
        for key in ("summary", "content"):
            _parts(item.get(key), "assistant", "text", turn, f"{path}.{key}", slots)
    elif named.endswith("_output"):
        _result(item, turn, path, slots)


def _message(item: Body, turn: int, path: str, slots: list[Slot]) -> None:
    given = item.get("role")
    role = _ROLES.get(given) if type(given) is str else None
    if role is None:
        raise BadRequest(f"{path}.role must be user, assistant, system or developer.", param=f"{path}.role")
    content = item.get("content")
    if type(content) is str:
        slots.append(Slot(role, "text", turn, item, "content", f"{path}.content"))
    elif type(content) is list:
        _parts(content, role, "text", turn, f"{path}.content", slots)
    else:
        raise wrong(f"{path}.content", "a string or a list of parts", content)


def _result(item: Body, turn: int, path: str, slots: list[Slot]) -> None:
    """What a tool gave back: a string, or a list of parts or of a shell's outputs."""
    output = item.get("output")
    if type(output) is str:
        slots.append(Slot("tool", "tool_result", turn, item, "output", f"{path}.output"))
    elif type(output) is list:
        _parts(output, "tool", "tool_result", turn, f"{path}.output", slots)
    elif item.get("type") in ("function_call_output", "custom_tool_call_output"):
        raise wrong(f"{path}.output", "a string or a list of parts", output)


def _parts(parts: Any, role: Role, kind: SlotKind, turn: int, path: str, slots: list[Slot]) -> None:
    """Parts of types that hold no text we read (images, files) stay as they came."""
    for at, part in enumerate(parts if type(parts) is list else ()):
        where = f"{path}[{at}]"
        if type(part) is not dict:
            raise wrong(where, "an object", part)
        key = _TEXTS.get(part["type"]) if type(part.get("type")) is str else None
        if key is not None:
            if type(part.get(key)) is not str:
                raise wrong(f"{where}.{key}", "a string", part.get(key))
            slots.append(Slot(role, kind, turn, part, key, f"{where}.{key}"))
        elif kind == "tool_result":
            slots.extend(
                Slot(role, kind, turn, part, name, f"{where}.{name}")
                for name in _RESULTS
                if type(part.get(name)) is str
            )
