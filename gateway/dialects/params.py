"""A profile's parameter table: what a provider's requests need renamed, dropped, bounded, defaulted or forced."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.core.request import Body


def dropped(body: Body, params: Mapping[str, Any]) -> Body:
    """The body without the fields the table drops. Done before translation, so that dropping a field is how an operator
    allows a request that could not be translated with it. `generationConfig.topK` names a field of an object."""
    drop = params.get("drop")
    if not drop:
        return body
    for name in drop:
        outer, _, inner = name.partition(".")
        holder = body.get(outer)
        if not inner and outer in body:
            body = {field: value for field, value in body.items() if field != outer}
        elif inner and type(holder) is dict and inner in holder:
            body = {**body, outer: {field: value for field, value in holder.items() if field != inner}}
    return body


def apply(body: Body, params: Mapping[str, Any]) -> None:
    """Applies the table to the top level of `body`, in place, in this order:

    `drop: [names]`, `rename: {ours: theirs}`, `default: {theirs: value}`, `clamp: {theirs: [low, high]}` (numbers
    only; a null bound is no bound), `force: {theirs: value}`. A rename never overwrites a field that is there.
    """
    for name in params.get("drop", ()):
        body.pop(name, None)
    for name, theirs in params.get("rename", {}).items():
        if name in body:
            value = body.pop(name)
            body.setdefault(theirs, value)
    for name, value in params.get("default", {}).items():
        body.setdefault(name, value)
    for name, (low, high) in params.get("clamp", {}).items():
        value = body.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            if low is not None and value < low:
                body[name] = low
            elif high is not None and value > high:
                body[name] = high
    body.update(params.get("force", {}))
