"""Copies of requests, for stages that change one while others may still be reading it."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.core.request import Body, Request


def copied(body: Body) -> tuple[Body, dict[int, Any]]:
    """The body's objects and lists anew, and which is whose, by `id`. A stack, not recursion: the client sets the
    depth."""
    root = body.copy()
    copies: dict[int, Any] = {id(body): root}
    stack: list[Any] = [root]
    while stack:
        node = stack.pop()
        for key, item in list(node.items()) if type(node) is dict else enumerate(node):
            if type(item) is dict or type(item) is list:
                node[key] = copies[id(item)] = copy = item.copy()
                stack.append(copy)
    return root, copies


def clone(request: Request) -> Request:
    """Shares every string with `request`, and no list or object; its slots point into its own body."""
    body, copies = copied(request.body)
    return Request(
        dialect=request.dialect,
        operation=request.operation,
        body=body,
        model=request.model,
        stream=request.stream,
        include_usage=request.include_usage,
        slots=[
            msgspec.structs.replace(slot, holder=copies.get(id(slot.holder), slot.holder)) for slot in request.slots
        ],
        passing=request.passing,
    )
