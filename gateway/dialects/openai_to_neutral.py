"""An OpenAI chat completion request, as the canonical request."""

from __future__ import annotations

from typing import Any

from gateway.core.request import Body
from gateway.dialects.image_url import image_of
from gateway.dialects.neutral import (
    Neutral,
    Part,
    ResponseFormat,
    TextPart,
    Tool,
    ToolChoice,
    ToolResultPart,
    ToolUsePart,
    Turn,
    shaped,
    untranslatable,
)

_PARAMS = ("temperature", "top_p", "top_k", "seed", "frequency_penalty", "presence_penalty")
_HANDLED = frozenset(
    {
        *_PARAMS, "model", "messages", "stream", "stream_options", "tools", "tool_choice", "parallel_tool_calls",
        "n", "max_tokens", "max_completion_tokens", "stop", "user", "safety_identifier", "reasoning_effort",
        "response_format",
    }
)  # fmt: skip
_HINTS = frozenset({"prompt_cache_key", "prompt_cache_retention", "prompt_cache_options", "service_tier", "metadata"})
"""Cost, speed and bookkeeping at OpenAI; the answer is the same without them."""
_NOTHING: dict[str, Any] = {
    "logprobs": False, "top_logprobs": 0, "logit_bias": {}, "store": False, "modalities": ["text"],
    "frequency_penalty": 0, "presence_penalty": 0, "reasoning_effort": "none", "functions": [],
}  # fmt: skip
"""Values that ask for what happens anyway."""


def to_neutral(body: Body) -> Neutral:
    """`body` was checked by `openai_read`. Raises `Untranslatable` naming the field."""
    for name, value in body.items():
        if value is None or name in _HANDLED or name in _HINTS:
            continue
        if name not in _NOTHING or value != _NOTHING[name]:
            raise untranslatable(name)
    neutral = Neutral(
        names={"effort": "reasoning_effort"},
        n=body.get("n") or 1,
        max_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
        user=str(body.get("safety_identifier") or body.get("user") or ""),
        parallel_tool_calls=body.get("parallel_tool_calls"),
        params={
            name: body[name] for name in _PARAMS if body.get(name) is not None and body[name] != _NOTHING.get(name)
        },
    )
    stop = body.get("stop")
    neutral.stop = [stop] if type(stop) is str else shaped(stop, list, "stop") or []
    if body.get("reasoning_effort") not in (None, "none"):
        neutral.effort = str(body["reasoning_effort"])
    neutral.tools = [
        _tool(tool, f"tools[{at}]") for at, tool in enumerate(shaped(body.get("tools"), list, "tools") or ())
    ]
    neutral.tool_choice = _choice(body.get("tool_choice"))
    neutral.response_format = _format(body.get("response_format"))
    for at, message in enumerate(body["messages"]):
        _message(message, f"messages[{at}]", neutral)
    return neutral


def _message(message: Body, path: str, neutral: Neutral) -> None:
    role = message["role"]
    if message.get("name") and role not in ("tool", "function"):
        raise untranslatable(f"{path}.name")
    if role in ("system", "developer"):
        # Wherever it stands: dialects that keep instructions apart have one place for them.
        parts = _content(message.get("content"), f"{path}.content")
        for part in parts:
            if not isinstance(part, TextPart):
                raise untranslatable(f"{path}.content", "instructions can only be text")
            neutral.system.append(part.text)
        return
    if role in ("tool", "function"):
        _result(message, path, neutral)
        return
    parts = _content(message.get("content"), f"{path}.content")
    if role == "assistant":
        if message.get("function_call") is not None:
            raise untranslatable(f"{path}.function_call", "use tool_calls")
        if message.get("audio") is not None:
            raise untranslatable(f"{path}.audio")
        if type(message.get("refusal")) is str:
            parts.append(TextPart(message["refusal"]))
        for at, call in enumerate(message.get("tool_calls") or ()):
            parts.append(_call(call, f"{path}.tool_calls[{at}]"))
    neutral.turns.append(Turn("assistant" if role == "assistant" else "user", tuple(parts)))


def _result(message: Body, path: str, neutral: Neutral) -> None:
    """Results of one round of calls belong together in one turn, as the calls do."""
    call_id = message.get("tool_call_id")
    if type(call_id) is not str:
        raise untranslatable(f"{path}.tool_call_id", "a tool result must name the call it answers")
    inner = tuple(part for part in _content(message.get("content"), f"{path}.content"))
    result = ToolResultPart(call_id, inner, path)  # type: ignore[arg-type]
    last = neutral.turns[-1] if neutral.turns else None
    if last is not None and last.role == "user" and all(isinstance(part, ToolResultPart) for part in last.parts):
        neutral.turns[-1] = Turn("user", (*last.parts, result))
    else:
        neutral.turns.append(Turn("user", (result,)))


def _content(content: Any, path: str) -> list[Part]:
    if content is None:
        return []
    if type(content) is str:
        return [TextPart(content)]
    return [_part(part, f"{path}[{at}]") for at, part in enumerate(content)]


def _part(part: Body, path: str) -> Part:
    named = part["type"]
    if named in ("text", "refusal"):
        return TextPart(part[named])
    if named != "image_url":
        raise untranslatable(path, f"parts of type {named[:40]!r} have no counterpart at the chosen model's provider")
    image = part.get("image_url")
    url = image.get("url") if type(image) is dict else image
    return image_of(url, f"{path}.image_url", f"{path}.image_url.url")


def _call(call: Body, path: str) -> ToolUsePart:
    function = call.get("function")
    if type(function) is not dict or type(function.get("name")) is not str or type(call.get("id")) is not str:
        raise untranslatable(path, "only function calls with an id and a name can be")
    return ToolUsePart(call["id"], function["name"], function["arguments"], f"{path}.function.arguments")


def _tool(tool: Any, path: str) -> Tool:
    function = tool.get("function") if type(tool) is dict and tool.get("type") == "function" else None
    if type(function) is not dict or type(function.get("name")) is not str:
        raise untranslatable(path, "only tools of type function can be")
    schema = function.get("parameters")
    return Tool(
        function["name"],
        str(function.get("description") or ""),
        schema if type(schema) is dict else None,
        function.get("strict"),
    )


def _choice(choice: Any) -> ToolChoice | None:
    match choice:
        case None:
            return None
        case "auto" | "none" | "required":
            return ToolChoice(choice)
        case {"type": "function", "function": {"name": str(name)}}:
            return ToolChoice("tool", name)
    raise untranslatable("tool_choice")


def _format(wanted: Any) -> ResponseFormat | None:
    match wanted:
        case None | {"type": "text"}:
            return None
        case {"type": "json_object"}:
            return ResponseFormat(None)
        case {"type": "json_schema", "json_schema": {"schema": dict(schema), **rest}}:
            strict = rest.get("strict")
            return ResponseFormat(schema, str(rest.get("name") or "answer"), strict if type(strict) is bool else None)
    raise untranslatable("response_format")
