"""How Gemini fields that the core has no place for travel in `extra` (always under one key, `gemini`), and the words that
differ: finish reasons and usage.

- `Started.extra`: fields of the response. `Text`, `Reasoning`, `ToolCall`: `part`, fields of the part (a signature of
  thought); of a `Reasoning` without text it is the whole part. `ToolCall`: `made_id`, the id is ours and not the model's.
- `ChoiceFinished.extra`: `word`, `candidate` (fields of the candidate), `feedback` (why a prompt was refused).
- `Unknown.fields`: `part` (a whole part), `candidate` or `chunk` (fields of those), `beside` (of a part that is known).
"""

from __future__ import annotations

from typing import Any

from gateway.core.events import ChoiceFinished, Extra, Usage

NAME = "gemini"

_REASONS = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    **dict.fromkeys(
        (
            "SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY", "IMAGE_RECITATION",
            "IMAGE_PROHIBITED_CONTENT", "MODEL_ARMOR",
        ),
        "content_filter",
    ),
}  # fmt: skip
"""Any other word stays as it is: a call that was malformed is no ordinary end, and no other dialect has a word for it."""
_WORDS = {
    "stop": "STOP",
    "length": "MAX_TOKENS",
    "tool_calls": "STOP",
    "function_call": "STOP",
    "content_filter": "SAFETY",
}


def wrap(fields: Extra | None) -> Extra | None:
    return {NAME: fields} if fields else None


def unwrap(extra: Extra | None) -> Extra:
    """The Gemini part of an `extra`; empty when there is none or another dialect wrote it."""
    own = extra.get(NAME) if extra else None
    return own if type(own) is dict else {}


def canonical_reason(word: str, *, calls: bool) -> str:
    """`calls`: the candidate calls functions, which this API ends with a plain `STOP`."""
    reason = _REASONS.get(word, word)
    return "tool_calls" if calls and reason == "stop" else reason


def word_of(event: ChoiceFinished) -> str:
    """The upstream's own word while it means the same, else ours."""
    own = unwrap(event.extra).get("word")
    if type(own) is str and event.reason in (canonical_reason(own, calls=False), canonical_reason(own, calls=True)):
        return own
    return _WORDS.get(event.reason, "OTHER")


def usage_of(usage: dict[str, Any]) -> Usage:
    """Thoughts are counted apart from the answer here; the canonical count includes them. So is what tools added."""
    thoughts = count(usage.get("thoughtsTokenCount"))
    return Usage(
        input_tokens=count(usage.get("promptTokenCount")) + count(usage.get("toolUsePromptTokenCount")),
        output_tokens=count(usage.get("candidatesTokenCount")) + thoughts,
        cached_tokens=count(usage.get("cachedContentTokenCount")),
        reasoning_tokens=thoughts,
        raw=usage,
    )


def usage_object(usage: Usage) -> dict[str, Any]:
    """The upstream's own object when it was of this shape, else one made from the counts."""
    if usage.raw is not None and ("promptTokenCount" in usage.raw or "totalTokenCount" in usage.raw):
        return usage.raw
    out = {
        "promptTokenCount": usage.input_tokens,
        "candidatesTokenCount": max(0, usage.output_tokens - usage.reasoning_tokens),
        "totalTokenCount": usage.input_tokens + usage.output_tokens,
    }
    if usage.cached_tokens:
        out["cachedContentTokenCount"] = usage.cached_tokens
    if usage.reasoning_tokens:
        out["thoughtsTokenCount"] = usage.reasoning_tokens
    return out


def count(value: Any) -> int:
    return max(0, value) if type(value) is int else 0
