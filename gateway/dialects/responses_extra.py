"""What the Responses codecs share: the dialect's name, and usage in its words.

In `extra` this dialect's own fields travel under one key, `responses`. `Unknown.fields`: `item`, a whole output item.
"""

from __future__ import annotations

from typing import Any

from gateway.core.events import Extra, Usage

NAME = "responses"


def wrap(fields: Extra | None) -> Extra | None:
    return {NAME: fields} if fields else None


def unwrap(extra: Extra | None) -> Extra:
    """The Responses part of an `extra`; empty when there is none or another dialect wrote it."""
    own = extra.get(NAME) if extra else None
    return own if type(own) is dict else {}


def usage_of(usage: dict[str, Any]) -> Usage:
    into, made = usage.get("input_tokens_details"), usage.get("output_tokens_details")
    return Usage(
        input_tokens=_count(usage.get("input_tokens")),
        output_tokens=_count(usage.get("output_tokens")),
        cached_tokens=_count(into.get("cached_tokens")) if type(into) is dict else 0,
        cache_write_tokens=_count(into.get("cache_write_tokens")) if type(into) is dict else 0,
        reasoning_tokens=_count(made.get("reasoning_tokens")) if type(made) is dict else 0,
        raw=usage,
    )


def usage_object(usage: Usage | None) -> dict[str, Any] | None:
    """The upstream's own object when it was of this shape, else one made from the counts; all fields are required."""
    if usage is None:
        return None
    raw = usage.raw
    if raw is not None and "input_tokens" in raw and "total_tokens" in raw and "prompt_tokens" not in raw:
        return raw
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": usage.cache_write_tokens},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }


def _count(value: Any) -> int:
    return max(0, value) if type(value) is int else 0
