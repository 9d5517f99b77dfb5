"""The canonical request, said as an Anthropic message request."""

from __future__ import annotations

import re
from typing import Any

from gateway.core.request import Body
from gateway.dialects.call_ids import fitted
from gateway.dialects.neutral import (
    ImagePart,
    Neutral,
    Part,
    TextPart,
    ToolResultPart,
    ToolUsePart,
    arguments_of,
    untranslatable,
)

DEFAULT_MAX_TOKENS = 4096
"""This API requires `max_tokens`. A profile's `default` for it wins over this."""

_PARAMS = frozenset({"temperature", "top_p", "top_k"})
_ID = re.compile(r"[a-zA-Z0-9_-]+")
"""What this API takes as the id of a call."""
_EFFORTS = frozenset({"low", "medium", "high", "xhigh", "max"})


def from_neutral(neutral: Neutral) -> Body:
    """Raises `Untranslatable`. `max_tokens` is left out when the client did not say it; the caller fills it in."""
    messages = [{"role": turn.role, "content": _content(turn.parts)} for turn in neutral.turns if turn.parts]
    body: Body = {"model": "", "messages": messages}
    if neutral.n > 1:
        raise untranslatable(neutral.called("n"))
    if neutral.max_tokens is not None:
        body["max_tokens"] = neutral.max_tokens
    if len(neutral.system) == 1:
        body["system"] = neutral.system[0]
    elif neutral.system:
        body["system"] = [{"type": "text", "text": text} for text in neutral.system if text]
    for name, value in neutral.params.items():
        if name not in _PARAMS:
            raise untranslatable(neutral.called(name))
        body[name] = value
    if neutral.stop:
        body["stop_sequences"] = neutral.stop
    if neutral.user:
        body["metadata"] = {"user_id": neutral.user}
    _tools(neutral, body)
    _output(neutral, body)
    return body


def _tools(neutral: Neutral, body: Body) -> None:
    if not neutral.tools:
        return
    body["tools"] = []
    for tool in neutral.tools:
        said: Body = {"name": tool.name, "input_schema": tool.schema or {"type": "object", "properties": {}}}
        if tool.description:
            said["description"] = tool.description
        if tool.strict is not None:
            said["strict"] = tool.strict
        body["tools"].append(said)
    choice = neutral.tool_choice
    wanted: Body = {"type": "auto"}
    if choice is not None:
        wanted = {"type": {"required": "any"}.get(choice.mode, choice.mode)}
        if choice.mode == "tool":
            wanted["name"] = choice.name
    if neutral.parallel_tool_calls is False and wanted["type"] != "none":
        wanted["disable_parallel_tool_use"] = True
    if choice is not None or len(wanted) > 1:
        body["tool_choice"] = wanted


def _output(neutral: Neutral, body: Body) -> None:
    config: Body = {}
    wanted = neutral.response_format
    if wanted is not None:
        if wanted.schema is None:
            raise untranslatable(neutral.called("response_format"), "this provider needs a JSON schema")
        config["format"] = {"type": "json_schema", "schema": wanted.schema}
    if neutral.effort:
        if neutral.effort not in _EFFORTS:
            raise untranslatable(neutral.called("effort"))
        config["effort"] = neutral.effort
    if config:
        body["output_config"] = config


def _content(parts: tuple[Part, ...]) -> Any:
    """One text as a plain string. Empty texts are left out: this API rejects them, and they say nothing."""
    blocks = [block for part in parts if (block := _block(part)) is not None]
    if len(blocks) == 1 and blocks[0]["type"] == "text":
        return blocks[0]["text"]
    return blocks


def _block(part: Part) -> Body | None:
    match part:
        case TextPart():
            return {"type": "text", "text": part.text} if part.text else None
        case ImagePart():
            return _image(part)
        case ToolUsePart():
            return {"type": "tool_use", "id": fitted(part.id, _ID), "name": part.name, "input": arguments_of(part)}
        case ToolResultPart():
            inner = [block for each in part.parts if (block := _block(each)) is not None]
            plain = len(inner) == 1 and inner[0]["type"] == "text"
            said: Body = {"type": "tool_result", "tool_use_id": fitted(part.id, _ID)}
            if inner:
                said["content"] = inner[0]["text"] if plain else inner
            if part.error:
                said["is_error"] = True
            return said


def _image(part: ImagePart) -> Body:
    if part.url:
        return {"type": "image", "source": {"type": "url", "url": part.url}}
    return {"type": "image", "source": {"type": "base64", "media_type": part.media_type, "data": part.data}}
