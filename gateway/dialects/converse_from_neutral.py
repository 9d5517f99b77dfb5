"""The canonical request, said as a Converse request."""

from __future__ import annotations

import re

from gateway.core.request import Body
from gateway.dialects.call_ids import fitted
from gateway.dialects.json_codec import encode
from gateway.dialects.neutral import (
    ImagePart,
    Neutral,
    Part,
    TextPart,
    Thought,
    ToolResultPart,
    ToolUsePart,
    Turn,
    arguments_of,
    untranslatable,
)

_PARAMS = {"temperature": "temperature", "top_p": "topP"}
_FORMATS = {"image/png": "png", "image/jpeg": "jpeg", "image/jpg": "jpeg", "image/gif": "gif", "image/webp": "webp"}
_LONGEST_EFFORT = 16
_ID = re.compile(r"[a-zA-Z0-9_.:-]{1,64}")
"""What this API takes as the id of a call."""


def from_neutral(neutral: Neutral, *, thoughts: bool) -> Body:
    """Raises `Untranslatable`. `thoughts`: the model takes back what it thought in earlier turns. The end user's id is left
    out: this API has no place for it, and it changes no answer."""
    body: Body = {"messages": _messages(neutral.turns, thoughts)}
    if neutral.system:
        body["system"] = [{"text": text} for text in neutral.system if text]
    if neutral.n > 1:
        raise untranslatable(neutral.called("n"))
    config: Body = {}
    if neutral.max_tokens is not None:
        config["maxTokens"] = neutral.max_tokens
    for name, value in neutral.params.items():
        if name not in _PARAMS:
            raise untranslatable(neutral.called(name))
        config[_PARAMS[name]] = value
    if neutral.stop:
        config["stopSequences"] = neutral.stop
    if config:
        body["inferenceConfig"] = config
    _tools(neutral, body)
    _output(neutral, body)
    return body


def _messages(turns: list[Turn], thoughts: bool) -> list[Body]:
    """Turns of one side in a row become one message: this API wants the sides to alternate."""
    messages: list[Body] = []
    for turn in turns:
        content = _content(turn, thoughts)
        if not content:
            continue
        if messages and messages[-1]["role"] == turn.role:
            messages[-1]["content"].extend(content)
        else:
            messages.append({"role": turn.role, "content": content})
    return messages


def _content(turn: Turn, thoughts: bool) -> list[Body]:
    blocks: list[Body] = []
    left = list(turn.thoughts) if thoughts else []
    for at, part in enumerate(turn.parts):
        while left and left[0].at <= at:
            blocks.append(_thought(left.pop(0)))
        block = _block(part)
        if block is not None:
            blocks.append(block)
    return blocks + [_thought(each) for each in left]


def _thought(thought: Thought) -> Body:
    if thought.redacted:
        return {"reasoningContent": {"redactedContent": thought.redacted}}
    return {"reasoningContent": {"reasoningText": {"text": thought.text, "signature": thought.signature}}}


def _block(part: Part) -> Body | None:
    """Empty texts are left out: this API rejects them, and they say nothing."""
    match part:
        case TextPart():
            return {"text": part.text} if part.text else None
        case ImagePart():
            return _image(part)
        case ToolUsePart():
            return {"toolUse": {"toolUseId": fitted(part.id, _ID), "name": part.name, "input": arguments_of(part)}}
        case ToolResultPart():
            inner = [block for each in part.parts if (block := _block(each)) is not None]
            said: Body = {"toolUseId": fitted(part.id, _ID), "content": inner}
            if part.error:
                said["status"] = "error"
            return {"toolResult": said}


def _image(part: ImagePart) -> Body:
    if part.url:
        raise untranslatable(part.path, "this provider takes images as bytes, not as addresses; send a base64 data URL")
    kind = _FORMATS.get(part.media_type.lower())
    if kind is None:
        raise untranslatable(part.path, "this provider takes png, jpeg, gif and webp images only")
    return {"image": {"format": kind, "source": {"bytes": part.data}}}


def _tools(neutral: Neutral, body: Body) -> None:
    if not neutral.tools:
        return
    choice = neutral.tool_choice
    if choice is not None and choice.mode == "none":
        # There is no such choice here. Without calls in the conversation the tools can be left out; with some they cannot.
        if any(isinstance(part, ToolUsePart | ToolResultPart) for turn in neutral.turns for part in turn.parts):
            raise untranslatable(neutral.called("tool_choice"), "this provider cannot be kept from calling its tools")
        return
    if neutral.parallel_tool_calls is False:
        raise untranslatable(neutral.called("parallel_tool_calls"))
    tools = []
    for tool in neutral.tools:
        said: Body = {"name": tool.name}
        if tool.description:
            said["description"] = tool.description
        said["inputSchema"] = {"json": tool.schema or {"type": "object", "properties": {}}}
        if tool.strict:
            said["strict"] = True
        tools.append({"toolSpec": said})
    body["toolConfig"] = {"tools": tools}
    if choice is not None and choice.mode != "auto":
        wanted: Body = {"tool": {"name": choice.name}} if choice.mode == "tool" else {"any": {}}
        body["toolConfig"]["toolChoice"] = wanted


def _output(neutral: Neutral, body: Body) -> None:
    config: Body = {}
    wanted = neutral.response_format
    if wanted is not None:
        if wanted.schema is None:
            raise untranslatable(neutral.called("response_format"), "this provider needs a JSON schema")
        schema: Body = {"name": wanted.name, "schema": encode(wanted.schema).decode()}  # a text that holds JSON
        config["textFormat"] = {"type": "json_schema", "structure": {"jsonSchema": schema}}
    if neutral.effort:
        if len(neutral.effort) > _LONGEST_EFFORT:
            raise untranslatable(neutral.called("effort"))
        config["effort"] = neutral.effort
    if config:
        body["outputConfig"] = config
