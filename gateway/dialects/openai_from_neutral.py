"""The canonical request, said as an OpenAI chat completion."""

from __future__ import annotations

from typing import Any

from gateway.core.request import Body
from gateway.dialects.neutral import ImagePart, Neutral, TextPart, ToolResultPart, ToolUsePart, Turn, untranslatable

_PARAMS = frozenset({"temperature", "top_p", "seed", "frequency_penalty", "presence_penalty"})


def from_neutral(neutral: Neutral) -> Body:
    """Raises `Untranslatable`. Says `max_tokens`, which every compatible server knows; a provider that wants
    `max_completion_tokens` renames it in its parameter table."""
    messages: list[Body] = []
    if neutral.system:
        # One string: many chat templates take no list of parts from the system.
        messages.append({"role": "system", "content": "\n\n".join(neutral.system)})
    for turn in neutral.turns:
        messages.extend(_assistant(turn) if turn.role == "assistant" else _user(turn))
    body: Body = {"model": "", "messages": messages}
    for name, value in neutral.params.items():
        if name not in _PARAMS:
            raise untranslatable(neutral.called(name))
        body[name] = value
    if neutral.n > 1:
        body["n"] = neutral.n
    if neutral.max_tokens is not None:
        body["max_tokens"] = neutral.max_tokens
    if neutral.stop:
        body["stop"] = neutral.stop
    if neutral.user:
        body["user"] = neutral.user
    if neutral.effort:
        body["reasoning_effort"] = neutral.effort
    _tools(neutral, body)
    _format(neutral, body)
    return body


def _tools(neutral: Neutral, body: Body) -> None:
    if not neutral.tools:
        return
    body["tools"] = []
    for tool in neutral.tools:
        function: Body = {"name": tool.name}
        if tool.description:
            function["description"] = tool.description
        if tool.schema is not None:
            function["parameters"] = tool.schema
        if tool.strict is not None:
            function["strict"] = tool.strict
        body["tools"].append({"type": "function", "function": function})
    choice = neutral.tool_choice
    if choice is not None:
        named = {"type": "function", "function": {"name": choice.name}}
        body["tool_choice"] = named if choice.mode == "tool" else choice.mode
    if neutral.parallel_tool_calls is not None:
        body["parallel_tool_calls"] = neutral.parallel_tool_calls


def _format(neutral: Neutral, body: Body) -> None:
    wanted = neutral.response_format
    if wanted is None:
        return
    if wanted.schema is None:
        body["response_format"] = {"type": "json_object"}
        return
    schema: Body = {"name": wanted.name, "schema": wanted.schema}
    if wanted.strict is not None:
        schema["strict"] = wanted.strict
    body["response_format"] = {"type": "json_schema", "json_schema": schema}


def _user(turn: Turn) -> list[Body]:
    """Tool results become messages of their own, before what the user says beside them."""
    messages: list[Body] = []
    said: list[Body] = []
    for part in turn.parts:
        if isinstance(part, ToolResultPart):
            messages.append({"role": "tool", "tool_call_id": part.id, "content": _result(part)})
        elif isinstance(part, TextPart):
            said.append({"type": "text", "text": part.text})
        elif isinstance(part, ImagePart):
            url = part.url or f"data:{part.media_type};base64,{part.data}"
            said.append({"type": "image_url", "image_url": {"url": url}})
        else:
            raise untranslatable(part.path, "only the assistant calls tools")
    if said:
        messages.append({"role": "user", "content": _flat(said)})
    return messages


def _assistant(turn: Turn) -> list[Body]:
    said: list[Body] = []
    calls: list[Body] = []
    for part in turn.parts:
        if isinstance(part, TextPart):
            said.append({"type": "text", "text": part.text})
        elif isinstance(part, ToolUsePart):
            function = {"name": part.name, "arguments": part.arguments or "{}"}
            calls.append({"id": part.id, "type": "function", "function": function})
        else:
            raise untranslatable(part.path, "the assistant can only say text and call tools")
    message: Body = {"role": "assistant", "content": _flat(said) if said else None}
    if calls:
        message["tool_calls"] = calls
    return [message] if said or calls else []


def _result(part: ToolResultPart) -> Any:
    """That a result is an error has no field of its own here: the text is what says so to the model."""
    texts: list[Body] = []
    for inner in part.parts:
        if not isinstance(inner, TextPart):
            raise untranslatable(inner.path, "a tool result can only hold text here")
        texts.append({"type": "text", "text": inner.text})
    return _flat(texts) if texts else ""


def _flat(parts: list[Body]) -> Any:
    """One text as a plain string, which every server takes; several, or images, as parts."""
    return parts[0]["text"] if len(parts) == 1 and parts[0]["type"] == "text" else parts
