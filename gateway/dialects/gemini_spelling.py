"""One spelling for the fields of a Gemini request.

Google's servers take every field as `camelCase` and as `snake_case`, and its own examples use both. All who look at a body
here know the first, so a masked field must not slip by as the second: known objects are put into it, in place. They mean
the same to the server. What belongs to the client (arguments, results, schemas, labels) is not touched.
"""

from __future__ import annotations

import re
from typing import Any

from gateway.core.errors import BadRequest
from gateway.core.request import Body

_HUMP = re.compile(r"_([a-z0-9])")
_KNOWN = frozenset({
    "systemInstruction", "generationConfig", "safetySettings", "toolConfig", "cachedContent", "serviceTier",
    "generateContentRequest", "functionDeclarations", "googleSearch", "googleSearchRetrieval", "googleMaps",
    "codeExecution", "urlContext", "computerUse", "fileSearch", "parametersJsonSchema", "responseJsonSchema",
    "functionCallingConfig", "allowedFunctionNames", "retrievalConfig", "inlineData", "fileData", "mimeType",
    "fileUri", "displayName", "functionCall", "functionResponse", "executableCode", "codeExecutionResult",
    "toolCall", "toolResponse", "thoughtSignature", "videoMetadata", "mediaResolution", "partMetadata", "topP",
    "topK", "maxOutputTokens", "stopSequences", "candidateCount", "responseMimeType", "responseSchema",
    "presencePenalty", "frequencyPenalty", "responseLogprobs", "responseModalities", "thinkingConfig",
    "includeThoughts", "thinkingBudget", "thinkingLevel", "outputDimensionality", "taskType",
})  # fmt: skip
"""What anybody here looks at. Names that nobody knows stay as they are."""


def respell(body: Body) -> None:
    """Raises `BadRequest` for a field that is given in both spellings."""
    _fields(body, "")
    nested = body.get("generateContentRequest")
    if type(nested) is dict:
        respell(nested)
    config = _inner(body, "generationConfig")
    _inner(config, "thinkingConfig")
    _inner(_inner(body, "toolConfig"), "functionCallingConfig")
    for tool in _each(body.get("tools")):
        _fields(tool, "tools.")
        for declared in _each(tool.get("functionDeclarations")):
            _fields(declared, "functionDeclarations.")
    for request in _each(body.get("requests")):
        _fields(request, "requests.")
        _parts(_inner(request, "content").get("parts"))
    for content in (*_each(body.get("contents")), *_each(body.get("systemInstruction")), *_each(body.get("content"))):
        _parts(content.get("parts"))


def _parts(parts: Any) -> None:
    for part in _each(parts):
        _fields(part, "parts.")
        for name in (
            "inlineData",
            "fileData",
            "functionCall",
            "videoMetadata",
            "executableCode",
            "codeExecutionResult",
        ):
            _inner(part, name)
        _parts(_inner(part, "functionResponse").get("parts"))


def _each(value: Any) -> list[Body]:
    """The objects of a list. One object stands for a list of one, as Google's parser has it."""
    listed = value if type(value) is list else [value]
    return [item for item in listed if type(item) is dict]


def _inner(holder: Body, name: str) -> Body:
    value = holder.get(name)
    if type(value) is not dict:
        return {}
    _fields(value, f"{name}.")
    return value


def _fields(holder: Body, where: str) -> None:
    """Renames what is known, in place, and keeps the order of the fields."""
    if not any("_" in name for name in holder):
        return
    items = list(holder.items())
    holder.clear()
    for name, value in items:
        camel = _HUMP.sub(lambda hump: hump[1].upper(), name)
        if camel not in _KNOWN:
            camel = name
        if camel in holder:
            raise BadRequest(f"{where}{camel} is given twice, in two spellings.", param=f"{where}{name}")
        holder[camel] = value
