"""What shape of answer a request asks for, found by the shape of the request and not by its dialect's name."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.core.errors import Untranslatable
from gateway.core.request import Body
from gateway.dialects.gemini_schema import json_schema


class Wanted(msgspec.Struct, frozen=True):
    """JSON is asked for. `schema` is None where any JSON object will do."""

    schema: dict[str, Any] | None


def wanted(body: Body) -> Wanted | None:
    """The structured output that the body asks for, or None if it asks for text."""
    for form in (
        body.get("response_format"),  # chat completions
        _inside(body, "text", "format"),  # responses
        body.get("output_format"),  # messages
        _inside(body, "output_config", "format"),  # messages, newer
    ):
        if isinstance(form, dict):
            found = _of_format(form)
            if found is not None:
                return found
    config = body.get("generationConfig")  # generateContent
    if isinstance(config, dict) and config.get("responseMimeType") == "application/json":
        schema = config.get("responseJsonSchema")
        if schema is None and config.get("responseSchema") is not None:
            schema = _googles(config["responseSchema"])
        return Wanted(schema if isinstance(schema, dict) else None)
    return None


def _googles(schema: Any) -> dict[str, Any] | None:
    """Google's own kind of schema as JSON Schema; None where it says what that cannot."""
    try:
        return json_schema(schema, "responseSchema")
    except Untranslatable:
        return None


def _of_format(form: dict[str, Any]) -> Wanted | None:
    if form.get("type") == "json_object":
        return Wanted(None)
    if form.get("type") != "json_schema":
        return None
    holder = form.get("json_schema")
    schema = holder.get("schema") if isinstance(holder, dict) else form.get("schema")
    return Wanted(schema if isinstance(schema, dict) else None)


def _inside(body: Body, outer: str, inner: str) -> Any:
    value = body.get(outer)
    return value.get(inner) if isinstance(value, dict) else None
