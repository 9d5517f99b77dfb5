"""How Anthropic fields that the core has no place for travel in `extra` (always under one key, `anthropic`), and the words
that differ: stop reasons and usage.

- `Started.extra`: fields of the message. `Text`: `citations`. `Reasoning`: `signatures`.
- `ToolCall`: `block` (fields of the block). `ChoiceFinished`: `stop` (the message delta as it came).
- `Unknown.fields`: `block` (a whole content block), `delta`, or `event`. `Usage.extra`: fields beside usage.
"""

from __future__ import annotations

from typing import Any

from gateway.core.events import ChoiceFinished, Extra, Usage

NAME = "anthropic"

_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_WORDS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
    "pause_turn": "pause_turn",
}


def wrap(fields: Extra | None) -> Extra | None:
    return {NAME: fields} if fields else None


def unwrap(extra: Extra | None) -> Extra:
    """The Anthropic part of an `extra`; empty when there is none or another dialect wrote it."""
    if not extra:
        return {}
    own = extra.get(NAME)
    return own if type(own) is dict else {}


def canonical_reason(stop_reason: str) -> str:
    return _REASONS.get(stop_reason, stop_reason)


def stop_of(event: ChoiceFinished | None, *, tools: bool) -> dict[str, Any]:
    """`stop_reason`, `stop_sequence` and what came with them. `tools`: the answer calls tools, which some servers end with
    a plain `stop`; Anthropic's clients look for `tool_use` before they run one."""
    if event is None:
        return {"stop_reason": "tool_use" if tools else "end_turn", "stop_sequence": None}
    own = unwrap(event.extra).get("stop")
    if type(own) is dict and canonical_reason(str(own.get("stop_reason"))) == event.reason:
        return {"stop_reason": None, "stop_sequence": None, **own}
    word = _WORDS.get(event.reason, "end_turn")
    return {"stop_reason": "tool_use" if tools and word == "end_turn" else word, "stop_sequence": None}


def usage_of(usage: dict[str, Any], beside: Extra | None = None) -> Usage:
    """Anthropic counts cached input apart; the canonical count includes it."""
    read = _count(usage.get("cache_read_input_tokens"))
    written = _count(usage.get("cache_creation_input_tokens"))
    details = usage.get("output_tokens_details")
    return Usage(
        input_tokens=_count(usage.get("input_tokens")) + read + written,
        output_tokens=_count(usage.get("output_tokens")),
        cached_tokens=read,
        cache_write_tokens=written,
        reasoning_tokens=_count(details.get("thinking_tokens")) if type(details) is dict else 0,
        raw=usage,
        extra=wrap(beside),
    )


def usage_object(usage: Usage | None) -> dict[str, Any]:
    """The upstream's own object when it was of this shape, else one made from the counts."""
    if usage is None:
        return {"input_tokens": 0, "output_tokens": 0}
    raw = usage.raw
    if raw is not None and "input_tokens" in raw and "prompt_tokens" not in raw and "total_tokens" not in raw:
        return raw
    return {
        "input_tokens": max(0, usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens),
        "output_tokens": usage.output_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cached_tokens,
    }


def _count(value: Any) -> int:
    return max(0, value) if type(value) is int else 0
