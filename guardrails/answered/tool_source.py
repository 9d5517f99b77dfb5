"""The tools that a request gives the model, found by the shape of the request and not by its dialect's name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.core.errors import Untranslatable
from gateway.core.request import Body
from gateway.dialects.gemini_schema import json_schema

Tools = Mapping[str, dict[str, Any] | None]
"""Name to the schema of its arguments; None for a tool whose arguments follow none (custom and built-in ones)."""


def tools_of(body: Body) -> Tools:
    """The tools that may be called. Malformed entries are left out: a call of one is then of a tool nobody declared."""
    found: dict[str, dict[str, Any] | None] = {}
    for key in ("tools", "functions"):
        listed = body.get(key)
        for tool in listed if isinstance(listed, list) else ():
            if isinstance(tool, dict):
                found.update(_tool(tool))
    return found


def _tool(tool: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any] | None]]:
    for holder in (tool.get("function"), tool.get("custom"), tool):  # chat completions nest, the others do not
        if isinstance(holder, dict) and isinstance(holder.get("name"), str):
            yield holder["name"], _schema(holder)
            return
    declared = tool.get("functionDeclarations")  # generateContent
    if isinstance(declared, list):
        for one in declared:
            if isinstance(one, dict) and isinstance(one.get("name"), str):
                yield one["name"], _declared(one)
    elif isinstance(tool.get("type"), str):  # built in: known by its type alone
        yield tool["type"], None


def _declared(function: dict[str, Any]) -> dict[str, Any] | None:
    """JSON Schema, or Google's own kind. What cannot be read follows none."""
    schema = function.get("parametersJsonSchema")
    if schema is None and function.get("parameters") is not None:
        try:
            return json_schema(function["parameters"], "parameters")
        except Untranslatable:
            return None
    return schema if isinstance(schema, dict) else None


def _schema(holder: dict[str, Any]) -> dict[str, Any] | None:
    """Chat completions and Responses say `parameters`, Messages `input_schema`. A function without any takes none."""
    for key in ("parameters", "input_schema"):
        if isinstance(holder.get(key), dict):
            found: dict[str, Any] = holder[key]
            return found
    return None
