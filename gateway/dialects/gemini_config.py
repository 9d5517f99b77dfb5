"""`generationConfig` and the canonical request's own fields, read."""

from __future__ import annotations

from typing import Any

from gateway.core.request import Body
from gateway.dialects.gemini_schema import json_schema
from gateway.dialects.neutral import Neutral, ResponseFormat, shaped, untranslatable

PARAMS = {
    "temperature": "temperature",
    "topP": "top_p",
    "topK": "top_k",
    "seed": "seed",
    "frequencyPenalty": "frequency_penalty",
    "presencePenalty": "presence_penalty",
}
"""This API's names of sampling parameters to the common ones."""
LEVELS = {"MINIMAL": "minimal", "LOW": "low", "MEDIUM": "medium", "HIGH": "high"}
_HANDLED = frozenset({
    *PARAMS, "maxOutputTokens", "stopSequences", "candidateCount", "responseMimeType", "responseSchema",
    "responseJsonSchema", "thinkingConfig",
})  # fmt: skip
_HINTS = frozenset({"mediaResolution"})
_NOTHING: dict[str, Any] = {
    "responseLogprobs": False, "responseModalities": ["TEXT"], "enableEnhancedCivicAnswers": False,
    "frequencyPenalty": 0, "presencePenalty": 0,
}  # fmt: skip
"""Values that ask for what happens anyway."""
_THINKING = frozenset({"includeThoughts", "thinkingBudget", "thinkingLevel"})
_PATH = "generationConfig"


def read_config(config: Body, neutral: Neutral) -> None:
    """Raises `Untranslatable` naming the field."""
    for name, value in config.items():
        if value is None or name in _HANDLED or name in _HINTS or value == []:
            continue
        if name not in _NOTHING or value != _NOTHING[name]:
            raise untranslatable(f"{_PATH}.{name}")
    neutral.params = {
        common: config[name]
        for name, common in PARAMS.items()
        if config.get(name) is not None and config[name] != _NOTHING.get(name)
    }
    top_k = neutral.params.get("top_k")
    if type(top_k) is float and top_k.is_integer():  # this API has it as a fraction, all others whole
        neutral.params["top_k"] = int(top_k)
    neutral.max_tokens = config.get("maxOutputTokens")
    neutral.stop = shaped(config.get("stopSequences"), list, f"{_PATH}.stopSequences") or []
    answers = config.get("candidateCount")
    neutral.n = answers if type(answers) is int else 1
    _thinking(shaped(config.get("thinkingConfig"), dict, f"{_PATH}.thinkingConfig") or {}, neutral)
    _format(config, neutral)


def _thinking(config: Body, neutral: Neutral) -> None:
    for name, value in config.items():
        if name not in _THINKING and value is not None:
            raise untranslatable(f"{_PATH}.thinkingConfig.{name}")
    if config.get("thinkingBudget") not in (None, 0, -1):  # -1: as much as the model likes
        raise untranslatable(f"{_PATH}.thinkingConfig.thinkingBudget", "say thinkingLevel instead")
    level = str(config.get("thinkingLevel") or "THINKING_LEVEL_UNSPECIFIED").upper()
    if level != "THINKING_LEVEL_UNSPECIFIED":
        neutral.effort = LEVELS.get(level, level.lower())


def _format(config: Body, neutral: Neutral) -> None:
    mime = config.get("responseMimeType")
    if mime in (None, "", "text/plain"):
        return
    if mime != "application/json":
        raise untranslatable(f"{_PATH}.responseMimeType")
    schema = config.get("responseJsonSchema")
    if schema is None and config.get("responseSchema") is not None:
        schema = json_schema(config["responseSchema"], f"{_PATH}.responseSchema")
    if schema is not None and type(schema) is not dict:
        raise untranslatable(f"{_PATH}.responseJsonSchema", "it is no schema")
    neutral.response_format = ResponseFormat(schema)
