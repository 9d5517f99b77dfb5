"""The canonical request, said as a Gemini request."""

from __future__ import annotations

from gateway.core.request import Body
from gateway.dialects.gemini_config import LEVELS, PARAMS
from gateway.dialects.gemini_turns import ERROR, OUTPUT
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

_PARAMS = {common: name for name, common in PARAMS.items()}
_LEVELS = {effort: level for level, effort in LEVELS.items()}
UNSIGNED = "skip_thought_signature_validator"
"""Google's own word for calls that were made by another model: newer models refuse one that no thought of theirs signs. It
stands at the first call of a turn, as signatures do."""
_MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY", "tool": "ANY"}


def from_neutral(neutral: Neutral) -> Body:
    """Raises `Untranslatable`. The end user's id is left out: there is no place for it, and no answer depends on it."""
    names: dict[str, str] = {}
    contents = []
    for turn in neutral.turns:
        parts = [made for part in turn.parts if (made := _part(part, names)) is not None]
        first = next((part for part in parts if "functionCall" in part), None)
        if first is not None:
            first["thoughtSignature"] = UNSIGNED
        if parts:
            contents.append({"role": "model" if turn.role == "assistant" else "user", "parts": parts})
    body: Body = {"contents": contents}
    if any(neutral.system):
        body["systemInstruction"] = {"parts": [{"text": text} for text in neutral.system if text]}
    _tools(neutral, body)
    config = _config(neutral)
    if config:
        body["generationConfig"] = config
    return body


def _config(neutral: Neutral) -> Body:
    config: Body = {}
    for name, value in neutral.params.items():
        if name not in _PARAMS:
            raise untranslatable(neutral.called(name))
        config[_PARAMS[name]] = value
    if neutral.max_tokens is not None:
        config["maxOutputTokens"] = neutral.max_tokens
    if neutral.stop:
        config["stopSequences"] = neutral.stop
    if neutral.n > 1:
        config["candidateCount"] = neutral.n
    if neutral.effort:
        if neutral.effort not in _LEVELS:
            raise untranslatable(neutral.called("effort"))
        config["thinkingConfig"] = {"thinkingLevel": _LEVELS[neutral.effort]}
    if neutral.response_format is not None:
        config["responseMimeType"] = "application/json"
        if neutral.response_format.schema is not None:
            config["responseJsonSchema"] = neutral.response_format.schema
    return config


def _tools(neutral: Neutral, body: Body) -> None:
    """`strict` is the mode in which this API holds a call to its schema."""
    if not neutral.tools:
        return
    declared = []
    for tool in neutral.tools:
        said: Body = {"name": tool.name}
        if tool.description:
            said["description"] = tool.description
        if tool.schema is not None:
            said["parametersJsonSchema"] = tool.schema
        declared.append(said)
    body["tools"] = [{"functionDeclarations": declared}]
    if neutral.parallel_tool_calls is False:
        raise untranslatable(neutral.called("parallel_tool_calls"))
    choice = neutral.tool_choice
    calling: Body = {"mode": _MODES[choice.mode]} if choice is not None else {}
    if choice is not None and choice.mode == "tool":
        calling["allowedFunctionNames"] = [choice.name]
    if (choice is None or choice.mode == "auto") and any(tool.strict for tool in neutral.tools):
        calling["mode"] = "VALIDATED"
    if calling:
        body["toolConfig"] = {"functionCallingConfig": calling}


def _part(part: Part, names: dict[str, str]) -> Body | None:
    """`names` of the calls so far, by id: a result must name its function. Empty texts are left out: they say nothing, and
    this API rejects a content without parts."""
    match part:
        case TextPart():
            return {"text": part.text} if part.text else None
        case ImagePart():
            return _image(part)
        case ToolUsePart():
            names[part.id] = part.name
            return {"functionCall": {"id": part.id, "name": part.name, "args": arguments_of(part)}}
        case ToolResultPart():
            return _result(part, names)


def _result(part: ToolResultPart, names: dict[str, str]) -> Body:
    name = names.get(part.id)
    if name is None:
        raise untranslatable(part.path, "it answers no call that stands before it")
    texts = [inner.text for inner in part.parts if isinstance(inner, TextPart)]
    images = [_image(inner) for inner in part.parts if isinstance(inner, ImagePart)]
    said: Body = {"id": part.id, "name": name, "response": {ERROR if part.error else OUTPUT: "\n".join(texts)}}
    if images:
        said["parts"] = images
    return {"functionResponse": said}


def _image(part: ImagePart) -> Body:
    if part.url:
        raise untranslatable(part.path, "this provider fetches no addresses; send the image itself, as base64")
    return {"inlineData": {"mimeType": part.media_type, "data": part.data}}
