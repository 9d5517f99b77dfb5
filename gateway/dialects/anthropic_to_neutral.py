"""An Anthropic message request, as the canonical request."""

from __future__ import annotations

from typing import Any

from gateway.core.request import Body
from gateway.dialects.json_codec import encode
from gateway.dialects.neutral import (
    ImagePart,
    Neutral,
    Part,
    ResponseFormat,
    TextPart,
    Thought,
    Tool,
    ToolChoice,
    ToolResultPart,
    ToolUsePart,
    Turn,
    shaped,
    untranslatable,
)

_PARAMS = ("temperature", "top_p", "top_k")
_HANDLED = frozenset(
    {
        *_PARAMS, "model", "messages", "stream", "system", "max_tokens", "stop_sequences", "tools", "tool_choice",
        "metadata", "thinking", "output_config",
    }
)  # fmt: skip
_HINTS = frozenset({"cache_control", "service_tier", "speed", "diagnostics"})
_MODES = {"auto": "auto", "any": "required", "none": "none", "tool": "tool"}


def to_neutral(body: Body) -> Neutral:
    """`body` was checked by `anthropic_read`. Raises `Untranslatable` naming the field.

    Thinking of earlier turns is kept apart: it is signed by the model that thought it and means nothing to another.
    """
    for name, value in body.items():
        if value is not None and name not in _HANDLED and name not in _HINTS:
            raise untranslatable(name)
    thinking = body.get("thinking")
    if type(thinking) is dict and thinking.get("type") not in ("disabled", "adaptive"):
        raise untranslatable("thinking")
    neutral = Neutral(
        max_tokens=body.get("max_tokens"),  # a request that is only counted has none
        stop=shaped(body.get("stop_sequences"), list, "stop_sequences") or [],
        user=_user(body.get("metadata")),
        params={name: body[name] for name in _PARAMS if body.get(name) is not None},
        names={"effort": "output_config.effort", "response_format": "output_config.format"},
    )
    system = body.get("system")
    if system:
        neutral.system = [system] if type(system) is str else [block["text"] for block in system]
    neutral.tools = [
        _tool(tool, f"tools[{at}]") for at, tool in enumerate(shaped(body.get("tools"), list, "tools") or ())
    ]
    _tool_choice(body.get("tool_choice"), neutral)
    _output(body.get("output_config"), neutral)
    for at, message in enumerate(body["messages"]):
        _message(message, f"messages[{at}]", neutral)
    return neutral


def _user(metadata: Any) -> str:
    value = metadata.get("user_id") if type(metadata) is dict else None
    return value if type(value) is str else ""


def _message(message: Body, path: str, neutral: Neutral) -> None:
    content = message["content"]
    blocks = [{"type": "text", "text": content}] if type(content) is str else content
    if message["role"] == "system":
        neutral.system.extend(block["text"] for block in blocks)
        return
    parts: list[Part] = []
    thoughts: list[Thought] = []
    for at, block in enumerate(blocks):
        if block["type"] in ("thinking", "redacted_thinking"):
            thoughts += _thought(block, len(parts))
        else:
            parts += _parts(block, f"{path}.content[{at}]")
    neutral.turns.append(Turn(message["role"], tuple(parts), tuple(thoughts)))


def _parts(block: Body, path: str) -> list[Part]:
    match block["type"]:
        case "text":
            return [TextPart(block["text"])]
        case "image":
            return [_image(block, path)]
        case "tool_use":
            return [ToolUsePart(str(block["id"]), str(block["name"]), encode(block.get("input") or {}).decode(), path)]
        case "tool_result":
            return [_result(block, path)]
    raise untranslatable(path, f"blocks of type {block['type'][:40]!r} have no counterpart there")


def _thought(block: Body, at: int) -> list[Thought]:
    """None of thinking that nobody sealed: it was translated by us, and no model takes it back."""
    match block:
        case {"type": "thinking", "thinking": str(text), "signature": str(signature)} if signature:
            return [Thought(at, text, signature)]
        case {"type": "redacted_thinking", "data": str(data)} if data:
            return [Thought(at, redacted=data)]
    return []


def _image(block: Body, path: str) -> ImagePart:
    match block.get("source"):
        case {"type": "base64", "media_type": str(media_type), "data": str(data)}:
            return ImagePart(path, media_type=media_type, data=data)
        case {"type": "url", "url": str(url)}:
            return ImagePart(path, url=url)
    raise untranslatable(f"{path}.source")


def _result(block: Body, path: str) -> ToolResultPart:
    content = block.get("content") or ()
    parts: list[TextPart | ImagePart] = []
    if type(content) is str:
        parts.append(TextPart(content))
    else:
        for at, inner in enumerate(content):
            where = f"{path}.content[{at}]"
            if inner.get("type") == "text":
                parts.append(TextPart(inner["text"]))
            elif inner.get("type") == "image":
                parts.append(_image(inner, where))
            else:
                raise untranslatable(where)
    return ToolResultPart(str(block.get("tool_use_id")), tuple(parts), path, bool(block.get("is_error")))


def _tool(tool: Any, path: str) -> Tool:
    if type(tool) is not dict or tool.get("type") not in (None, "custom") or type(tool.get("name")) is not str:
        raise untranslatable(path, "only tools of the client's own can be")
    schema = tool.get("input_schema")
    return Tool(
        tool["name"],
        str(tool.get("description") or ""),
        schema if type(schema) is dict else None,
        tool.get("strict"),
    )


def _tool_choice(choice: Any, neutral: Neutral) -> None:
    if choice is None:
        return
    mode = _MODES.get(str(choice.get("type"))) if type(choice) is dict else None
    if mode is None:
        raise untranslatable("tool_choice")
    neutral.tool_choice = ToolChoice(mode, str(choice.get("name") or ""))  # type: ignore[arg-type]
    if choice.get("disable_parallel_tool_use"):
        neutral.parallel_tool_calls = False


def _output(config: Any, neutral: Neutral) -> None:
    if config is None:
        return
    match config.get("format") if type(config) is dict else config:
        case None:
            pass
        case {"type": "json_schema", "schema": dict(schema)}:
            neutral.response_format = ResponseFormat(schema, strict=True)
        case _:
            raise untranslatable("output_config.format")
    neutral.effort = str(config.get("effort") or "")
    for name in config:
        if name not in ("format", "effort"):
            raise untranslatable(f"output_config.{name}")
