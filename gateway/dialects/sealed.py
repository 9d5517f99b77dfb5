"""Where bodies hold what only one provider can read: the encrypted items of Responses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from typing import Any

import msgspec

from gateway.core.request import Body
from gateway.dialects import responses_extra

At = tuple[int, ...]


class Sealed(msgspec.Struct, frozen=True):
    """One such value. `spare`: the conversation can go on without it."""

    at: At
    path: str
    text: str
    spare: bool


Find = Callable[[Body], list[Sealed]]
Rewrite = Callable[[Body, Mapping[At, str], Set[At]], Body]
"""The body with other texts at some places, and without what is at others. What is not changed is shared."""


def _in_items(body: Body) -> list[Sealed]:
    given = body.get("input")
    return [
        Sealed((at,), f"input[{at}].encrypted_content", item["encrypted_content"], item.get("type") == "reasoning")
        for at, item in enumerate(given if type(given) is list else ())
        if type(item.get("encrypted_content")) is str and item["encrypted_content"]
    ]


def _items_without(body: Body, texts: Mapping[At, str], drop: Set[At]) -> Body:
    items = [
        {**item, "encrypted_content": texts[(at,)]} if (at,) in texts else item
        for at, item in enumerate(body["input"])
        if (at,) not in drop
    ]
    return {**body, "input": items}


PLACES: Mapping[str, tuple[Find, Rewrite]] = {
    responses_extra.NAME: (_in_items, _items_without),
}
"""By dialect."""


def seal_item(item: Any, seal: Callable[[str], str] | None) -> bool:
    """Seals an output item of a response in place; whether there was anything to seal."""
    if seal is None or type(item) is not dict or type(item.get("encrypted_content")) is not str:
        return False
    if not item["encrypted_content"]:
        return False
    item["encrypted_content"] = seal(item["encrypted_content"])
    return True


def seal_items(value: Any, seal: Callable[[str], str] | None) -> bool:
    """The same for all items of a response object."""
    items = value.get("output") if type(value) is dict else None
    return True in [seal_item(item, seal) for item in items] if type(items) is list else False
