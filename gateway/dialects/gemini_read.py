"""Gemini requests: what the gateway itself must know of them, checked; everything else stays as it came.

The model and whether to stream are told by the URL, and are laid over the body before it is read: see `read`.
"""

from __future__ import annotations

from typing import Any

from gateway.core.errors import BadRequest
from gateway.core.request import Body, Operation, Request, Role, Slot, SlotKind
from gateway.dialects.gemini_blobs import TEXT, opened
from gateway.dialects.gemini_chunk import MAX_CHOICES
from gateway.dialects.gemini_extra import NAME
from gateway.dialects.gemini_spelling import respell
from gateway.dialects.gemini_vectors import read_vectors
from gateway.dialects.reading import flag, model_of, wrong

_ROLES: dict[str, Role] = {"user": "user", "model": "assistant", "function": "tool", "tool": "tool"}
_OBJECTS = ("generationConfig", "toolConfig")
_LISTS = ("tools", "safetySettings")


def read(operation: Operation, body: Body) -> Request:
    """Raises `BadRequest` naming the field. `body` becomes the request's own and is not copied; `model` and `stream`, which
    no body of this API has, are taken out of it."""
    if operation not in ("chat", "count_tokens", "embeddings"):
        raise BadRequest(f"There is no {operation} in this API.")
    model, stream = model_of(body), flag(body, "stream")
    body.pop("model", None)
    body.pop("stream", None)
    respell(body)
    slots: list[Slot] = []
    nested = body.get("generateContentRequest") if operation == "count_tokens" else None
    if operation == "embeddings":
        read_vectors(body, slots)
    elif nested is None:
        _content_of(body, "", slots)
    elif type(nested) is dict:
        _content_of(nested, "generateContentRequest.", slots)
    else:
        raise wrong("generateContentRequest", "an object", nested)
    return Request(
        dialect=NAME,
        operation=operation,
        body=body,
        model=model,
        stream=stream and operation == "chat",
        include_usage=True,
        slots=slots,
    )


def _content_of(body: Body, path: str, slots: list[Slot]) -> None:
    _types(body, path)
    system = body.get("systemInstruction")
    if type(system) is str:  # taken by Google's own SDKs, not by its servers
        raise wrong(f"{path}systemInstruction", "an object with parts", system)
    if system is not None:
        _content(system, "system", 0, f"{path}systemInstruction", slots)
    contents = body.get("contents")
    if contents is None:
        raise BadRequest(f"{path}contents is missing.", param=f"{path}contents")
    if contents == []:
        raise BadRequest(f"{path}contents must not be empty.", param=f"{path}contents")
    if type(contents) is dict:
        contents = body["contents"] = [contents]  # one stands for a list of one; all who look expect the list
    if type(contents) is not list:
        raise wrong(f"{path}contents", "a list", contents)
    for at, content in enumerate(contents):
        where = f"{path}contents[{at}]"
        if type(content) is not dict:
            raise wrong(where, "an object with parts", content)
        given = content.get("role")
        role = _ROLES.get(given or "user") if given is None or type(given) is str else None
        if role is None:
            raise BadRequest(f"{where}.role must be user or model.", param=f"{where}.role")
        _content(content, role, at, where, slots)


def _types(body: Body, path: str) -> None:
    for names, want, kind in ((_OBJECTS, "an object", dict), (_LISTS, "a list", list)):
        for name in names:
            if body.get(name) is not None and type(body[name]) is not kind:
                raise wrong(f"{path}{name}", want, body[name])
    config = body.get("generationConfig") or {}
    for name, most in (("maxOutputTokens", None), ("candidateCount", MAX_CHOICES)):
        value = config.get(name)
        if value is not None and (type(value) is not int or value < 1 or (most is not None and value > most)):
            where, bound = f"{path}generationConfig.{name}", f"1 to {most}" if most else "1 or more"
            raise BadRequest(f"{where} must be a whole number, {bound}.", param=where)


def _content(content: Any, role: Role, turn: int, path: str, slots: list[Slot]) -> None:
    if type(content) is not dict:
        raise wrong(path, "an object with parts", content)
    parts = content.get("parts")
    if parts is None:
        return
    if type(parts) is dict:
        parts = content["parts"] = [parts]
    if type(parts) is not list:
        raise wrong(f"{path}.parts", "a list", parts)
    for at, part in enumerate(parts):
        _part(part, role, turn, f"{path}.parts[{at}]", slots)


def _part(part: Any, role: Role, turn: int, path: str, slots: list[Slot]) -> None:
    """One part. Thoughts are texts like any other: a replayed one can hold the user's own values."""
    if type(part) is not dict:
        raise wrong(path, "an object", part)
    if part.get("text") is not None:
        _string(part, "text", role, "text", turn, path, slots)
    call = _object(part, "functionCall", path)
    if call is not None:
        _leaves(call.get("args"), "assistant", "tool_arguments", turn, f"{path}.functionCall.args", slots)
    _blob(part, turn, path, slots)
    given = _object(part, "functionResponse", path)
    if given is not None:
        inner = given.get("parts")
        for at, one in enumerate(inner if type(inner) is list else ()):
            if type(one) is dict:
                _blob(one, turn, f"{path}.functionResponse.parts[{at}]", slots)
        _leaves(given.get("response"), "tool", "tool_result", turn, f"{path}.functionResponse.response", slots)
    # What Google's own tools were asked and said, sent again with the conversation.
    for name, key, said, kind in _SERVER_TOOLS:
        inner = part.get(name)
        if type(inner) is dict:
            _leaves(inner.get(key), said, kind, turn, f"{path}.{name}.{key}", slots, inner, key)


def _blob(part: Body, turn: int, path: str, slots: list[Slot]) -> None:
    """A file of plain text. Other files cannot be read here."""
    if "inlineData" in part and opened(part["inlineData"], f"{path}.inlineData"):
        slots.append(Slot("retrieved", "text", turn, part["inlineData"], TEXT, f"{path}.inlineData.{TEXT}"))


_SERVER_TOOLS: tuple[tuple[str, str, Role, SlotKind], ...] = (
    ("executableCode", "code", "assistant", "tool_arguments"),
    ("codeExecutionResult", "output", "tool", "tool_result"),
    ("toolCall", "args", "assistant", "tool_arguments"),
    ("toolResponse", "response", "tool", "tool_result"),
)


def _object(part: Body, name: str, path: str) -> Body | None:
    value = part.get(name)
    if value is not None and type(value) is not dict:
        raise wrong(f"{path}.{name}", "an object", value)
    return value


def _string(part: Body, key: str, role: Role, kind: SlotKind, turn: int, path: str, slots: list[Slot]) -> None:
    if type(part[key]) is not str:
        raise wrong(f"{path}.{key}", "a string", part[key])
    slots.append(Slot(role, kind, turn, part, key, f"{path}.{key}"))


def _leaves(
    value: Any, role: Role, kind: SlotKind, turn: int, path: str, slots: list[Slot], holder: Any = None, key: Any = None
) -> None:
    """Every string inside, in reading order. A stack, not recursion: the client sets the depth. With `holder` the value
    itself may be the string."""
    stack: list[tuple[Any, Any, Any, str]] = [(holder, key, value, path)]
    while stack:
        held, name, node, where = stack.pop()
        if type(node) is dict:
            stack.extend([(node, inner, item, f"{where}.{inner}") for inner, item in node.items()][::-1])
        elif type(node) is list:
            stack.extend([(node, at, item, f"{where}[{at}]") for at, item in enumerate(node)][::-1])
        elif type(node) is str and held is not None:
            slots.append(Slot(role, kind, turn, held, name, where))
