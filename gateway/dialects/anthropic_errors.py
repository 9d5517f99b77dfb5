"""Errors and model lists in Anthropic's shape."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from gateway.core.errors import GatewayFault
from gateway.dialects import overflow
from gateway.dialects.json_codec import encode

TOO_LONG = "prompt is too long"
"""The provider's words."""


def error_body(fault: GatewayFault, exchange_id: str) -> bytes:
    """The type's word is what clients branch on; the request id is there twice by custom, here and in a header."""
    error = {"type": fault.wire.anthropic_type, "message": overflow.told(fault, TOO_LONG)}
    return encode({"type": "error", "error": error, "request_id": exchange_id or None})


def model_list(aliases: Sequence[str], created: int, *, one: bool) -> bytes:
    """`GET /v1/models`, or with `one` the object of `GET /v1/models/{id}`. `created` is Unix seconds."""
    when = datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    models = [
        {"type": "model", "id": alias, "display_name": alias, "created_at": when, "lifecycle": "active"}
        for alias in aliases
    ]
    if one:
        return encode(models[0])
    first, last = (aliases[0], aliases[-1]) if aliases else (None, None)
    return encode({"data": models, "has_more": False, "first_id": first, "last_id": last})
