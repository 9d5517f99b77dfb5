"""A Responses request, as the canonical request."""

from __future__ import annotations

from typing import Any

from gateway.core.request import Body
from gateway.dialects.image_url import image_of
from gateway.dialects.neutral import (
    ImagePart,
    Neutral,
    Part,
    ResponseFormat,
    TextPart,
    Tool,
    ToolChoice,
    ToolResultPart,
    ToolUsePart,
    Turn,
    untranslatable,
)

_PARAMS = ("temperature", "top_p")
_HANDLED = frozenset(
    {
        *_PARAMS, "model", "input", "instructions", "stream", "stream_options", "max_output_tokens", "tools",
        "tool_choice", "parallel_tool_calls", "text", "reasoning", "user", "safety_identifier", "include",
    }
)  # fmt: skip
_HINTS = frozenset(
    {
        "store", "metadata", "client_metadata", "service_tier", "prompt_cache_key", "prompt_cache_retention",
        "prompt_cache_options", "background", "previous_response_id", "conversation",
    }
)  # fmt: skip
"""Cost, speed and bookkeeping; the reader has refused those that would change the answer."""
_NOTHING: dict[str, Any] = {"truncation": "disabled", "top_logprobs": 0}
"""Values that ask for what happens anyway."""
_INCLUDED = frozenset({"reasoning.encrypted_content"})
"""What may be asked for and not given: there is none to include when no provider encrypts its reasoning."""


def to_neutral(body: Body) -> Neutral:
    """`body` was checked by `responses_read`. Raises `Untranslatable` naming the field.

    Reasoning of earlier turns is left out, encrypted or not: only the provider that thought it can read it.
    """
    for name, value in body.items():
        if value is None or name in _HANDLED or name in _HINTS:
            continue
        if name not in _NOTHING or value != _NOTHING[name]:
            raise untranslatable(name)
    neutral = Neutral(
        max_tokens=body.get("max_output_tokens"),
        user=str(body.get("safety_identifier") or body.get("user") or ""),
        parallel_tool_calls=body.get("parallel_tool_calls"),
        params={name: body[name] for name in _PARAMS if body.get(name) is not None},
        names={"effort": "reasoning.effort", "response_format": "text.format", "max_tokens": "max_output_tokens"},
    )
    include = body.get("include")
    if include is not None and not (type(include) is list and all(item in _INCLUDED for item in include)):
        raise untranslatable("include")
    if body.get("instructions"):
        neutral.system.append(body["instructions"])
    neutral.tools = [_tool(tool, f"tools[{at}]") for at, tool in enumerate(body.get("tools") or ())]
    neutral.tool_choice = _choice(body.get("tool_choice"))
    _text(body.get("text") or {}, neutral)
    effort = (body.get("reasoning") or {}).get("effort")
    neutral.effort = "" if effort in (None, "none") else str(effort)
    given = body["input"]
    items = [{"role": "user", "content": given}] if type(given) is str else given
    for at, item in enumerate(items):
        _item(item, f"input[{at}]", neutral)
    return neutral


def _item(item: Body, path: str, neutral: Neutral) -> None:
    match item.get("type", "message"):
        case "message":
            parts = _content(item["content"], f"{path}.content")
            if item["role"] in ("system", "developer"):
                for part in parts:
                    if not isinstance(part, TextPart):
                        raise untranslatable(f"{path}.content", "instructions can only be text")
                    neutral.system.append(part.text)
            elif item["role"] == "assistant":
                _assistant(parts, neutral)
            else:
                neutral.turns.append(Turn("user", tuple(parts)))
        case "function_call":
            call_id, name = item.get("call_id"), item.get("name")
            if type(call_id) is not str or type(name) is not str:
                raise untranslatable(path, "a call needs a call_id and a name")
            _assistant([ToolUsePart(call_id, name, item["arguments"], f"{path}.arguments")], neutral)
        case "function_call_output":
            _result(item, path, neutral)
        case "reasoning":
            return
        case other:
            raise untranslatable(path, f"items of type {str(other)[:40]!r} have no counterpart there")


def _assistant(parts: list[Part], neutral: Neutral) -> None:
    """What the assistant said and called in a row is one turn elsewhere."""
    last = neutral.turns[-1] if neutral.turns else None
    if last is not None and last.role == "assistant":
        neutral.turns[-1] = Turn("assistant", (*last.parts, *parts))
    else:
        neutral.turns.append(Turn("assistant", tuple(parts)))


def _result(item: Body, path: str, neutral: Neutral) -> None:
    """Results of one round of calls belong together in one turn, as the calls do."""
    if type(item.get("call_id")) is not str:
        raise untranslatable(f"{path}.call_id", "a tool result must name the call it answers")
    inner = tuple(_content(item["output"], f"{path}.output"))
    result = ToolResultPart(item["call_id"], inner, path)  # type: ignore[arg-type]
    last = neutral.turns[-1] if neutral.turns else None
    if last is not None and last.role == "user" and all(isinstance(part, ToolResultPart) for part in last.parts):
        neutral.turns[-1] = Turn("user", (*last.parts, result))
    else:
        neutral.turns.append(Turn("user", (result,)))


def _content(content: Any, path: str) -> list[Part]:
    if type(content) is str:
        return [TextPart(content)]
    return [_part(part, f"{path}[{at}]") for at, part in enumerate(content)]


def _part(part: Body, path: str) -> TextPart | ImagePart:
    match part.get("type"):
        case "input_text" | "output_text" | "text":
            return TextPart(part["text"])
        case "refusal":
            return TextPart(part["refusal"])
        case "input_image" if part.get("file_id") is None:
            return image_of(part.get("image_url"), path, f"{path}.image_url")
    raise untranslatable(path, f"parts of type {str(part.get('type'))[:40]!r} have no counterpart there")


def _tool(tool: Any, path: str) -> Tool:
    if type(tool) is not dict or tool.get("type") != "function" or type(tool.get("name")) is not str:
        raise untranslatable(path, "only tools of type function with a name can be")
    schema, strict = tool.get("parameters"), tool.get("strict")
    return Tool(
        tool["name"],
        str(tool.get("description") or ""),
        schema if type(schema) is dict else None,
        strict if type(strict) is bool else None,
    )


def _choice(choice: Any) -> ToolChoice | None:
    match choice:
        case None:
            return None
        case "auto" | "none" | "required":
            return ToolChoice(choice)
        case {"type": "function", "name": str(name)}:
            return ToolChoice("tool", name)
    raise untranslatable("tool_choice")


def _text(text: Body, neutral: Neutral) -> None:
    if text.get("verbosity") not in (None, "medium"):
        raise untranslatable("text.verbosity")
    match text.get("format"):
        case None | {"type": "text"}:
            return
        case {"type": "json_object"}:
            neutral.response_format = ResponseFormat(None)
        case {"type": "json_schema", "schema": dict(schema), **rest}:
            strict = rest.get("strict")
            name = str(rest.get("name") or "answer")
            neutral.response_format = ResponseFormat(schema, name, strict if type(strict) is bool else None)
        case _:
            raise untranslatable("text.format")
