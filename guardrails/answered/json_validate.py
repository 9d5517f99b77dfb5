"""JSON Schema validation that a hostile schema cannot turn against the gateway.

Schemas come from clients. So: patterns run in RE2 (Python's `re` can be made to take hours), references are only
looked up inside the schema (the library's default would fetch remote ones over HTTP), and every keyword evaluated
costs one step of a budget, since a few nested `allOf` of references make exponential work out of a kilobyte."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jsonschema
import re2
from jsonschema.validators import validator_for
from referencing import Registry

from gateway.core.fingerprint import canonical, digest

MAX_SCHEMA = 128 * 1024
MAX_STEPS = 200_000
"""Keyword evaluations in one validation: about half a second at worst."""
_KEPT = 128

Keyword = Callable[[Any, Any, Any, Mapping[str, Any]], Iterator[Any] | None]


class Unusable(Exception):
    """The schema itself cannot be used. Says why, without quoting it."""


class Validators:
    """Compiled schemas, the latest `_KEPT` of them. Safe to use from several threads."""

    def __init__(self) -> None:
        self._local = threading.local()
        self._kept: OrderedDict[str, Any] = OrderedDict()
        self._lock = threading.Lock()
        self._classes: dict[type[Any], type[Any]] = {}

    def error(self, schema: Mapping[str, Any] | None, value: Any) -> str:
        """ "" if `value` fits, else where it does not: a JSON path and the keyword, never the value. Raises
        `Unusable`."""
        if schema is None:
            return "" if isinstance(value, dict) else "$: not an object"
        self._local.left = MAX_STEPS
        try:
            first = next(self._validator(schema).iter_errors(value), None)
        except RecursionError:
            raise Unusable("it is nested too deeply") from None
        except re2.error:
            raise Unusable("one of its patterns is not one that RE2 takes") from None
        except Unusable:
            raise
        except Exception as error:
            raise Unusable(f"it cannot be applied ({type(error).__name__})") from None
        return "" if first is None else f"{first.json_path}: {first.validator}"

    def _validator(self, schema: Mapping[str, Any]) -> Any:
        key = digest(schema)
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
                return found
        if len(canonical(schema)) > MAX_SCHEMA:
            raise Unusable(f"it is larger than {MAX_SCHEMA} bytes")
        base = validator_for(schema, default=jsonschema.Draft202012Validator)
        made = self._bounded(base)(schema, registry=Registry())
        with self._lock:
            self._kept[key] = made
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return made

    def _bounded(self, base: type[Any]) -> type[Any]:
        made = self._classes.get(base)
        if made is None:
            keywords = {name: self._counted(function) for name, function in base.VALIDATORS.items()}
            keywords["pattern"] = self._counted(_pattern)
            keywords["patternProperties"] = self._counted(_pattern_properties)
            made = self._classes[base] = jsonschema.validators.extend(base, keywords)
        return made

    def _counted(self, function: Keyword) -> Keyword:
        local = self._local

        def counted(validator: Any, value: Any, instance: Any, schema: Mapping[str, Any]) -> Iterator[Any] | None:
            local.left -= 1
            if local.left < 0:
                raise Unusable(f"it takes more than {MAX_STEPS} steps to apply")
            return function(validator, value, instance, schema)

        return counted


def _compiled(pattern: str) -> re2._Regexp:
    options = re2.Options()
    options.log_errors = False
    return re2.compile(pattern, options)


def _pattern(validator: Any, pattern: str, instance: Any, schema: Mapping[str, Any]) -> Iterator[Any]:
    if isinstance(instance, str) and not _compiled(pattern).search(instance):
        yield jsonschema.ValidationError("does not match")


def _pattern_properties(
    validator: Any, patterns: Mapping[str, Any], instance: Any, schema: Mapping[str, Any]
) -> Iterator[Any]:
    if not isinstance(instance, dict):
        return
    for pattern, subschema in patterns.items():
        compiled = _compiled(pattern)
        for name, item in instance.items():
            if compiled.search(name):
                yield from validator.descend(item, subschema, path=name, schema_path=pattern)
