"""What counting a prompt's tokens gives, in the words of no dialect: `{"count": {"input_tokens": N}}` in the `extra` of a
`Started`. `"estimated": true` beside the number: not counted by the model's provider, which cannot, but estimated."""

from __future__ import annotations

from typing import Any

from gateway.core.events import Extra

COUNT = "count"


def counted(tokens: int) -> dict[str, Any]:
    return {COUNT: {"input_tokens": tokens}}


def count_of(extra: Extra | None) -> dict[str, Any]:
    """The count; empty when there is none."""
    own = extra.get(COUNT) if extra else None
    return own if type(own) is dict else {}
