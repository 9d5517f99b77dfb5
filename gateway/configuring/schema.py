"""The configuration's JSON Schema, from the same type hints the reader uses: for editors and for `/schema`."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, NewType, Union, get_args, get_origin

import msgspec

from gateway.core.secret import Secret
from gateway.core.units import Duration, Size

Schema = dict[str, Any]

_SPECIAL: dict[Any, Schema] = {
    Duration: {"type": "string", "pattern": r"^\d+(\.\d+)?\s*(ms|s|m|h|d)$", "examples": ["250ms", "5s", "1h"]},
    Size: {"type": "string", "pattern": r"^\d+(\.\d+)?\s*[kKmMgG]?[iI]?[bB]$", "examples": ["512KiB", "10MiB"]},
    Secret: {"type": "string", "examples": ["${OPENAI_API_KEY}", "${file:/run/secrets/key}"]},
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
    Any: {},
}


def schema_of(root: type[msgspec.Struct], title: str) -> Schema:
    """A draft 2020-12 schema; structures by reference under `$defs`."""
    definitions: dict[str, Schema] = {}
    body = _schema(root, definitions)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **body, "$defs": definitions}


def _schema(type_: Any, definitions: dict[str, Schema]) -> Schema:
    if type_ in _SPECIAL:
        return dict(_SPECIAL[type_])
    if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
        return _reference(type_, definitions)
    if isinstance(type_, NewType):
        return _schema(type_.__supertype__, definitions)
    origin, arguments = get_origin(type_), get_args(type_)
    if origin in (Union, types.UnionType):
        return {"anyOf": [_schema(choice, definitions) for choice in arguments]}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (dict, Mapping):
        return {"type": "object", "additionalProperties": _schema(arguments[1], definitions)}
    if origin in (list, tuple, set, frozenset):
        return {"type": "array", "items": _schema(arguments[0], definitions)}
    return {}


def _reference(struct: type[msgspec.Struct], definitions: dict[str, Schema]) -> Schema:
    name = struct.__name__
    if name not in definitions:
        definitions[name] = {}  # taken, so that a structure may refer to itself
        hints = typing.get_type_hints(struct)
        fields = msgspec.structs.fields(struct)
        schema: Schema = {
            "type": "object",
            "additionalProperties": False,
            "properties": {field.encode_name: _schema(hints[field.name], definitions) for field in fields},
        }
        if required := [field.encode_name for field in fields if field.required]:
            schema["required"] = required
        if struct.__doc__ and "(" not in struct.__doc__[:1]:
            schema["description"] = struct.__doc__.split("\n\n")[0].strip()
        definitions[name] = schema
    return {"$ref": f"#/$defs/{name}"}
