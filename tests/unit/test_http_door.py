"""The door: what is asked for exactly is served before the router, and nothing else is."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.http.asgi import Receive, Scope, Send
from gateway.http.door import Door


def noted(name: str, told: list[str]) -> Any:
    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        told.append(name)

    return handle


@pytest.mark.parametrize(
    ("scope", "served"),
    [
        ({"type": "http", "path": "/v1/messages", "headers": [(b"host", b"[::1]:8080")]}, "exchange"),
        ({"type": "http", "path": "/v1/messages", "headers": []}, "exchange"),
        ({"type": "http", "path": "/v1/messages/", "headers": []}, "router"),
        ({"type": "http", "path": "/readyz", "headers": []}, "router"),
        ({"type": "http", "path": "/v1/messages", "headers": [(b"host", b"a/b")]}, "router"),
        ({"type": "http", "path": "/v1/messages", "headers": [(b"host", b"a\n")]}, "router"),
        ({"type": "lifespan"}, "router"),
    ],
)
async def test_only_what_is_asked_for_exactly_is_taken(scope: dict[str, Any], served: str) -> None:
    """Other spellings of a path, and hosts that may be refused, are the router's to judge."""
    told: list[str] = []
    door = Door({"/v1/messages": noted("exchange", told)}, noted("router", told))

    async def nothing(*_: Any) -> Any:
        raise AssertionError("nobody reads or writes here")

    await door(scope, nothing, nothing)
    assert told == [served]
