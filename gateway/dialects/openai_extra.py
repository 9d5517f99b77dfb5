"""How OpenAI fields that the core has no place for travel in `extra`: always under one key, `openai`.

- `Started.extra`: fields of the reply's or chunk's top level.
- `Text`, `Reasoning`, `ChoiceFinished`: `choice` (fields of the choice: log-probabilities, filter results), `chunk`
  (top-level fields that came later), `as` (the wire name of a reasoning field), `refusal` (the text is a refusal).
- `ToolCall`: `type` (`custom`, `function_call`), `call` and `function` (fields of those objects).
- `Unknown.fields`: fields of the delta or message. `Usage.extra`: top-level fields that came beside usage.
"""

from __future__ import annotations

from typing import Any

from gateway.core.events import Extra, Usage

NAME = "openai"


def wrap(fields: Extra | None) -> Extra | None:
    return {NAME: fields} if fields else None


def unwrap(extra: Extra | None) -> Extra:
    """The OpenAI part of an `extra`; empty when there is none or another dialect wrote it."""
    if not extra:
        return {}
    own = extra.get(NAME)
    return own if type(own) is dict else {}


def empty(value: Any) -> bool:
    """Fields that servers send in every chunk and that say nothing."""
    return value is None or value == {} or value == []


def usage_of(usage: dict[str, Any], beside: Extra | None = None) -> Usage:
    """The usage object of chat, completions and embeddings replies; also other names for cached and reasoning tokens.

    Some (xAI) count reasoning apart from the completion. Their own total says so, and the canonical count includes it.
    """
    details = usage.get("prompt_tokens_details")
    details = details if type(details) is dict else {}
    made = usage.get("completion_tokens_details")
    made = made if type(made) is dict else {}
    read, spoken = count(usage.get("prompt_tokens")), count(usage.get("completion_tokens"))
    reasoned = count(made.get("reasoning_tokens")) or count(usage.get("reasoning_tokens"))
    apart = reasoned > 0 and count(usage.get("total_tokens")) == read + spoken + reasoned
    return Usage(
        input_tokens=read,
        output_tokens=spoken + reasoned if apart else spoken,
        cached_tokens=count(details.get("cached_tokens"))
        or count(usage.get("prompt_cache_hit_tokens"))
        or count(usage.get("cached_tokens")),
        cache_write_tokens=count(details.get("cache_write_tokens")),
        reasoning_tokens=reasoned,
        raw=usage,
        extra=wrap(beside),
    )


def usage_object(usage: Usage) -> dict[str, Any]:
    """The upstream's own object when it was of this shape, else one made from the counts."""
    if usage.raw is not None and "prompt_tokens" in usage.raw:
        return usage.raw
    out: dict[str, Any] = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
    if usage.cached_tokens or usage.cache_write_tokens:
        out["prompt_tokens_details"] = {"cached_tokens": usage.cached_tokens}
    if usage.reasoning_tokens:
        out["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    return out


def count(value: Any) -> int:
    """A token count, whatever the server put there; never negative."""
    return max(0, int(value)) if type(value) is int or (type(value) is float and 0 <= value < 1e15) else 0
