"""Errors and model lists in OpenAI's shape."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core.errors import GatewayFault
from gateway.dialects.json_codec import encode


def error_body(fault: GatewayFault) -> bytes:
    """`param` and `code` are JSON null when there is none, never a word for it: clients branch on them."""
    wire = fault.wire
    return encode(
        {"error": {"message": fault.message, "type": wire.openai_type, "param": fault.param, "code": fault.code}}
    )


def model_list(aliases: Sequence[str], created: int, *, one: bool) -> bytes:
    """`GET /v1/models`, or with `one` the object of `GET /v1/models/{id}`. `created` is Unix seconds."""
    models = [{"id": alias, "object": "model", "created": created, "owned_by": "tidegate"} for alias in aliases]
    return encode(models[0] if one else {"object": "list", "data": models})
