"""A Gemini request, as the canonical request."""

from __future__ import annotations

from typing import Any

from gateway.core.request import Body
from gateway.dialects.gemini_config import read_config
from gateway.dialects.gemini_schema import json_schema
from gateway.dialects.gemini_turns import Conversation
from gateway.dialects.neutral import Neutral, Tool, ToolChoice, shaped, untranslatable

_HANDLED = frozenset(
    {
        "contents",
        "systemInstruction",
        "tools",
        "toolConfig",
        "safetySettings",
        "generationConfig",
        "generateContentRequest",
    }
)
_HINTS = frozenset({"labels", "serviceTier", "store", "model"})
_NO_FILTER = ("BLOCK_NONE", "OFF", "HARM_BLOCK_THRESHOLD_UNSPECIFIED", None)
_DECLARED = frozenset({"name", "description", "parameters", "parametersJsonSchema"})
_ANSWERED = frozenset({"response", "responseJsonSchema", "behavior"})
"""What a declaration says of a function's result: models of other providers are not told."""
_NAMES = {
    "max_tokens": "generationConfig.maxOutputTokens",
    "stop": "generationConfig.stopSequences",
    "effort": "generationConfig.thinkingConfig.thinkingLevel",
    "response_format": "generationConfig.responseMimeType",
    "n": "generationConfig.candidateCount",
    "temperature": "generationConfig.temperature",
    "top_p": "generationConfig.topP",
    "top_k": "generationConfig.topK",
    "seed": "generationConfig.seed",
    "frequency_penalty": "generationConfig.frequencyPenalty",
    "presence_penalty": "generationConfig.presencePenalty",
    "parallel_tool_calls": "tools",
    "tool_choice": "toolConfig",
}


def to_neutral(body: Body) -> Neutral:
    """`body` was checked by `gemini_read`. Raises `Untranslatable` naming the field.

    What cannot be said to a model of another provider:

    - `cachedContent`, and `fileData` parts: they name what only Google keeps. Inline data that is neither an image
      nor plain text.
    - tools of Google's own (`googleSearch`, `codeExecution`, `urlContext` ...), and the parts they leave in a conversation.
    - `safetySettings` that ask for a filter; those that ask for none are left out.
    - `toolConfig`: the mode `VALIDATED`, `allowedFunctionNames` that are neither one nor all, `retrievalConfig`.
    - `generationConfig`: `thinkingBudget` above 0, log-probabilities, other media than text, `text/x.enum`, speech, images.
    - `functionResponse` that answers no call before it, by id or by name.

    Thoughts of earlier turns and their signatures are left out: only the provider that thought them can read them. So are
    `labels`, `serviceTier`, `store` and `includeThoughts`, which change no answer.
    """
    nested = body.get("generateContentRequest")
    if type(nested) is dict:
        return to_neutral(nested)
    for name, value in body.items():
        if value not in (None, [], {}) and name not in _HANDLED and name not in _HINTS:
            raise untranslatable(name)
    for at, setting in enumerate(body.get("safetySettings") or ()):
        if type(setting) is not dict or setting.get("threshold") not in _NO_FILTER:
            raise untranslatable(f"safetySettings[{at}]", "there is no such filter at the provider of the chosen model")
    neutral = Neutral(names=_NAMES)
    read_config(body.get("generationConfig") or {}, neutral)
    for at, tool in enumerate(body.get("tools") or ()):
        _tools(tool, f"tools[{at}]", neutral)
    _choice(body.get("toolConfig") or {}, neutral)
    conversation = Conversation(neutral)
    if body.get("systemInstruction"):
        conversation.system(body["systemInstruction"], "systemInstruction")
    for at, content in enumerate(body["contents"]):
        conversation.turn(content, at, f"contents[{at}]")
    return neutral


def _tools(tool: Any, path: str, neutral: Neutral) -> None:
    if type(tool) is not dict:
        raise untranslatable(path)
    for name, value in tool.items():
        if name != "functionDeclarations" and value is not None:
            raise untranslatable(f"{path}.{name}", "it is a tool of Google's own")
    for at, declared in enumerate(shaped(tool.get("functionDeclarations"), list, f"{path}.functionDeclarations") or ()):
        where = f"{path}.functionDeclarations[{at}]"
        if type(declared) is not dict or type(declared.get("name")) is not str:
            raise untranslatable(where, "it has no name")
        for name in declared:
            if name not in _DECLARED and name not in _ANSWERED:
                raise untranslatable(f"{where}.{name}")
        schema = declared.get("parametersJsonSchema")
        if schema is None and declared.get("parameters") is not None:
            schema = json_schema(declared["parameters"], f"{where}.parameters")
        if schema is not None and type(schema) is not dict:
            raise untranslatable(f"{where}.parametersJsonSchema", "it is no schema")
        neutral.tools.append(Tool(declared["name"], str(declared.get("description") or ""), schema))


def _choice(config: Body, neutral: Neutral) -> None:
    for name, value in config.items():
        if name != "functionCallingConfig" and value:
            raise untranslatable(f"toolConfig.{name}")
    calling = config.get("functionCallingConfig")
    if not calling:
        return
    path = "toolConfig.functionCallingConfig"
    if type(calling) is not dict:
        raise untranslatable(path)
    allowed = shaped(calling.get("allowedFunctionNames"), list, f"{path}.allowedFunctionNames") or []
    for name, value in calling.items():
        if name not in ("mode", "allowedFunctionNames") and value:
            raise untranslatable(f"{path}.{name}")
    mode = str(calling.get("mode") or "AUTO").upper()
    some = bool(allowed) and {str(name) for name in allowed} != {tool.name for tool in neutral.tools}
    if mode == "ANY" and len(allowed) == 1:
        neutral.tool_choice = ToolChoice("tool", str(allowed[0]))
    elif some:
        raise untranslatable(f"{path}.allowedFunctionNames", "a choice can be limited to one function, or to all")
    elif mode == "ANY":
        neutral.tool_choice = ToolChoice("required")
    elif mode in ("AUTO", "MODE_UNSPECIFIED"):
        neutral.tool_choice = ToolChoice("auto") if "mode" in calling else None
    elif mode == "NONE":
        neutral.tool_choice = ToolChoice("none")
    else:
        raise untranslatable(f"{path}.mode")
