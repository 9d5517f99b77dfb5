"""Google's `Schema` (a dialect of OpenAPI's, with types in capitals) as the JSON Schema that everyone else reads."""

from __future__ import annotations

from typing import Any

from gateway.dialects.neutral import untranslatable

_KEPT = frozenset({
    "title", "description", "pattern", "minimum", "maximum", "required", "default", "example", "additionalProperties",
})  # fmt: skip
_COUNTS = frozenset({"minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"})
"""64-bit numbers, which this API may spell as strings."""
_DROPPED = frozenset({"propertyOrdering", "property_ordering", "nullable", "type", "enum"})
_FORMATS = frozenset({"enum", "float", "double", "int32", "int64"})
"""Formats that JSON Schema does not know and that its readers may refuse."""


def json_schema(schema: Any, path: str) -> dict[str, Any]:
    """Raises `Untranslatable` naming what has no counterpart. Depth is bounded by what a request's body may have."""
    if type(schema) is not dict:
        raise untranslatable(path, "it is no schema")
    out: dict[str, Any] = {}
    kind = schema.get("type")
    if type(kind) is str and kind != "TYPE_UNSPECIFIED":
        out["type"] = [kind.lower(), "null"] if schema.get("nullable") is True else kind.lower()
    if schema.get("enum") is not None:
        values = _of(list, schema["enum"], f"{path}.enum")
        out["enum"] = [*values, None] if schema.get("nullable") is True else values
    for name, value in schema.items():
        if value is None or name in _DROPPED:
            continue
        if name in _KEPT:
            out[name] = json_schema(value, f"{path}.{name}") if type(value) is dict and name[0] == "a" else value
        elif name in _COUNTS:
            out[name] = int(value) if type(value) is str and value.isdigit() else value
        elif name == "format":
            if type(value) is str and value not in _FORMATS:
                out[name] = value
        elif name == "items":
            out[name] = json_schema(value, f"{path}.items")
        elif name == "anyOf" or name == "any_of":
            kinds = _of(list, value, f"{path}.anyOf")
            out["anyOf"] = [json_schema(one, f"{path}.anyOf[{at}]") for at, one in enumerate(kinds)]
            if schema.get("nullable") is True and "type" not in out:
                out["anyOf"].append({"type": "null"})
        elif name in ("properties", "defs", "$defs"):
            held = _of(dict, value, f"{path}.{name}")
            inner = {key: json_schema(one, f"{path}.{name}.{key}") for key, one in held.items()}
            out["properties" if name == "properties" else "$defs"] = inner
        elif name in ("ref", "$ref"):
            out["$ref"] = value
        else:
            raise untranslatable(f"{path}.{name}")
    return out


def _of(kind: type, value: Any, path: str) -> Any:
    if type(value) is not kind:
        raise untranslatable(path, "it has another shape")
    return value
