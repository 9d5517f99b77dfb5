"""What an exchange leaves behind in memory: nothing."""

from __future__ import annotations

import gc

import pytest

from tests.fixtures.gateway import Converse

ROUTE = {
    "default": {
        "guardrails": ["private"],
        "cache": {"exact": {"ttl": "1h", "max_entries": 2}},
        "limits": {"rpm": 1000, "concurrency": 10},
    }
}
GUARD = {"private": {"use": "pii", "on": ["input", "output"], "action": "mask", "on_error": "closed"}}


@pytest.mark.parametrize("stream", [False, True])
async def test_an_exchange_is_freed_when_it_ends(talk: Converse, stream: bool) -> None:
    """No part of an exchange is in a reference cycle, so memory does not wait for the cycle collector."""
    async with talk(routes=ROUTE, guardrails=GUARD) as t:
        t.upstream.script("m", ["Hello a@example.com ", "there"])
        for number in range(10):  # caches, pools and compiled patterns are made once
            await t.ask(f"mail b{number}@example.com", stream=stream)
            await t.receipt()
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            for number in range(20):
                await t.ask(f"mail c{number}@example.com", stream=stream)
                await t.receipt()
            gc.collect()
            ours = {type(thing).__module__ for thing in gc.garbage}
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
        assert not {
            name
            for name in ours
            if name.split(".")[0] in ("gateway", "guardrails", "routing", "cache", "litestar", "uvicorn")
        }
