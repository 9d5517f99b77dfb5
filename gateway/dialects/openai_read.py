"""OpenAI requests: what the gateway itself must know of them, checked; everything else stays as it came."""

from __future__ import annotations

from typing import Any

from gateway.core.errors import BadRequest
from gateway.core.request import Body, Operation, Request, Role, Slot, SlotKind
from gateway.dialects.reading import flag, items, kind, model_of, wrong

MAX_N = 128

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
_PART_TEXT = {"text": "text", "refusal": "refusal"}
"""The part types that hold text, and under which key."""
_HISTORY = ("reasoning_content", "reasoning", "refusal")
"""Other text an assistant message may hold when a client replays it."""


def read(operation: Operation, body: Body) -> Request:
    """Raises `BadRequest` naming the field. `body` becomes the request's own and is not copied."""
    if operation == "chat":
        return _read_chat(body)
    return _read_completion(body) if operation == "completions" else _read_embeddings(body)


def _read_chat(body: Body) -> Request:
    model = model_of(body)
    slots: list[Slot] = []
    at = 0
    for at, message in enumerate(items(body, "messages")):
        if type(message) is not dict:
            raise wrong(f"messages[{at}]", "an object", message)
        given = message.get("role")
        role = _ROLES.get(given) if type(given) is str else None
        if role is None:
            raise BadRequest(f"messages[{at}].role must be one of {', '.join(_ROLES)}.", param=f"messages[{at}].role")
        content = message.get("content")
        what: SlotKind = "tool_result" if role == "tool" else "text"
        if type(content) is str:
            slots.append(Slot(role, what, at, message, "content", f"messages[{at}].content"))
        elif type(content) is list:
            _parts(content, role, what, at, f"messages[{at}].content", slots)
        elif content is not None or role != "assistant":
            raise wrong(f"messages[{at}].content", "a string or a list of parts", content)
        if len(message) > 2:
            _rest_of_message(message, role, at, slots)
    if "prediction" in body:
        _prediction(body["prediction"], at + 1, slots)
    return _request("chat", body, model, slots)


def _parts(parts: list[Any], role: Role, what: SlotKind, turn: int, path: str, slots: list[Slot]) -> None:
    for at, part in enumerate(parts):
        if type(part) is not dict:
            raise wrong(f"{path}[{at}]", "an object", part)
        named = part.get("type")
        if type(named) is not str:
            raise wrong(f"{path}[{at}].type", "a string", named)
        key = _PART_TEXT.get(named)
        if key is not None:
            if type(part.get(key)) is not str:
                raise wrong(f"{path}[{at}].{key}", "a string", part.get(key))
            slots.append(Slot(role, what, turn, part, key, f"{path}[{at}].{key}"))


def _rest_of_message(message: Body, role: Role, at: int, slots: list[Slot]) -> None:
    if role == "assistant":
        for key in _HISTORY:
            if type(message.get(key)) is str:
                slots.append(Slot(role, "text", at, message, key, f"messages[{at}].{key}"))
        if message.get("tool_calls") is not None:
            _tool_calls(message["tool_calls"], at, slots)
        call = message.get("function_call")
        if type(call) is dict and type(call.get("arguments")) is str:
            slots.append(Slot(role, "tool_arguments", at, call, "arguments", f"messages[{at}].function_call.arguments"))
    name = message.get("name")
    if name is not None:
        if type(name) is not str:
            raise wrong(f"messages[{at}].name", "a string", name)
        # A tool message's name is the function's, which the model was given in `tools`; a participant's is private.
        if role != "tool":
            slots.append(Slot(role, "name", at, message, "name", f"messages[{at}].name"))


def _tool_calls(calls: Any, at: int, slots: list[Slot]) -> None:
    path = f"messages[{at}].tool_calls"
    if type(calls) is not list:
        raise wrong(path, "a list", calls)
    for number, call in enumerate(calls):
        if type(call) is not dict:
            raise wrong(f"{path}[{number}]", "an object", call)
        for holder_name, key in (("function", "arguments"), ("custom", "input")):
            holder = call.get(holder_name)
            if holder is None:
                continue
            if type(holder) is not dict:
                raise wrong(f"{path}[{number}].{holder_name}", "an object", holder)
            where = f"{path}[{number}].{holder_name}.{key}"
            if type(holder.get(key)) is not str:
                raise wrong(where, "a string", holder.get(key))
            slots.append(Slot("assistant", "tool_arguments", at, holder, key, where))


def _prediction(prediction: Any, turn: int, slots: list[Slot]) -> None:
    """Predicted output is text of the user's that goes to the model, so it is screened like the rest."""
    if type(prediction) is not dict:
        if prediction is None:
            return
        raise wrong("prediction", "an object", prediction)
    content = prediction.get("content")
    if type(content) is str:
        slots.append(Slot("assistant", "text", turn, prediction, "content", "prediction.content"))
    elif type(content) is list:
        _parts(content, "assistant", "text", turn, "prediction.content", slots)


def _read_completion(body: Body) -> Request:
    model = model_of(body)
    slots: list[Slot] = []
    _texts(body, "prompt", slots)
    suffix = body.get("suffix")
    if suffix is not None:
        if type(suffix) is not str:
            raise wrong("suffix", "a string", suffix)
        slots.append(Slot("user", "text", 0, body, "suffix", "suffix"))
    return _request("completions", body, model, slots)


def _read_embeddings(body: Body) -> Request:
    model = model_of(body)
    slots: list[Slot] = []
    if "input" not in body:
        raise BadRequest("input is missing.", param="input")
    _texts(body, "input", slots)
    return Request(
        dialect="openai",
        operation="embeddings",
        body=body,
        model=model,
        stream=False,
        include_usage=False,
        slots=slots,
    )


def _texts(body: Body, name: str, slots: list[Slot]) -> None:
    """A string, a list of strings, a list of token ids, or a list of such lists. All belong to one turn."""
    value = body.get(name)
    if type(value) is str:
        slots.append(Slot("user", "text", 0, body, name, name))
        return
    if type(value) is not list:
        raise wrong(name, "a string or a list", value)
    if not value:
        raise BadRequest(f"{name} must not be empty.", param=name)
    tokens = type(value[0]) is int
    for at, item in enumerate(value):
        if type(item) is str:
            slots.append(Slot("user", "text", 0, value, at, f"{name}[{at}]"))
        elif type(item) is list:
            if not all(type(token) is int for token in item):
                raise BadRequest(f"{name}[{at}] must hold token ids only.", param=f"{name}[{at}]")
        elif type(item) is not int or not tokens:
            raise BadRequest(
                f"{name}[{at}] must be a string, or all of {name} must be token ids; it is {kind(item)}.",
                param=f"{name}[{at}]",
            )


def _request(operation: Operation, body: Body, model: str, slots: list[Slot]) -> Request:
    n = body.get("n")
    if n is not None and (type(n) is not int or not 1 <= n <= MAX_N):
        raise BadRequest(f"n must be a whole number from 1 to {MAX_N}.", param="n")
    options = body.get("stream_options")
    include_usage = False
    if options is not None:
        if type(options) is not dict:
            raise wrong("stream_options", "an object", options)
        wanted = options.get("include_usage")
        if wanted is not None and type(wanted) is not bool:
            raise wrong("stream_options.include_usage", "true or false", wanted)
        include_usage = wanted is True
    return Request(
        dialect="openai",
        operation=operation,
        body=body,
        model=model,
        stream=flag(body, "stream"),
        include_usage=include_usage,
        slots=slots,
    )
