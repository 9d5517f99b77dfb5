"""Two real gateway processes and one real Redis: what one is told to forget, or that an answer was wrong, holds in both."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from gateway.faults.server import FaultServer
from tests.fixtures.redis import RedisServer
from tests.integration.test_cache_processes import Process, processes

QUESTION, LIKE_IT = "What is the default port of Postgres?", "hi, what's the default port of postgres, please"
DOCS = {"query": "how do I rotate the signing key of a bucket"}
BOUND = 30.0
"""Seconds within which what is told must hold; only a hang may fail here."""


async def until(true: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(BOUND):
        while not await true():  # noqa: ASYNC110 - each turn is a request
            await asyncio.sleep(0.02)


async def cached(one: Process, text: str) -> str:
    return (await one.ask(text)).headers["x-tidegate-cache"]


async def looked(one: Process) -> dict[str, Any]:
    """A lookup that was made, and not one that the busy machine's encoder was too slow for."""
    while True:
        body: dict[str, Any] = (await one.http.post("/v1/cache/docs/lookup", json=DOCS)).json()
        if not str(body.get("reason", "")).startswith("store:"):
            return body


async def filed(one: Process) -> bool:
    return bool((await one.http.post("/v1/cache/docs/store", json={**DOCS, "value": 1})).json()["stored"])


async def test_purges_evictions_and_verdicts_reach_both_processes(
    own_redis: Callable[..., RedisServer], minilm_dir: Path, tmp_path: Path
) -> None:
    """Each holds vectors in its own memory. A purge, an eviction and a verdict at the one end what the other serves."""
    async with FaultServer() as upstream:
        near = {"threshold": 0.9, "evidence": "assume", "verify_sample": 0.0}
        config = {
            "version": 1,
            "server": {"secret": "at-least-16-bytes-long"},
            "redis": own_redis().url,
            "providers": {"up": {"type": "openai-compatible", "base_url": upstream.base_url}},
            "models": {"m": {"targets": [{"provider": "up", "model": "ok"}]}},
            "routes": {"default": {"cache": {"semantic": near}}},
            "tool_caches": {"docs": {"kind": "semantic"}},
            "telemetry": {"log": "off"},
        }
        async with processes(2, config, tmp_path) as (one, two):
            for each in (one, two):
                await until(lambda each=each: filed(each))  # type: ignore[misc]
            assert (await looked(two))["hit"]
            purge = {"dry_run": False, "namespace": "docs"}
            told = (await one.http.post("/admin/v1/cache/purge", json=purge)).json()
            assert told["stores"]["tool:docs.semantic"]["shared"] is True
            await until(lambda: _not(looked(two)))

            await until(lambda: filed(two))
            id = (await looked(two))["id"]
            await one.http.delete(f"/admin/v1/cache/{id}")
            await until(lambda: _not(looked(two)))

            await until(lambda: _is(cached(two, QUESTION), "semantic"))
            await until(lambda: _is(cached(two, LIKE_IT), "semantic"))
            hit = (await two.ask(LIKE_IT)).headers["x-tidegate-cache-id"]
            verdict = {"id": hit, "right": False}
            passed = await one.http.post("/admin/v1/cache/verdicts", json=verdict)
            assert (passed.status_code, passed.json()["passed_on"]) == (202, True)
            await until(lambda: _is(cached(two, LIKE_IT), "miss"))


async def _not(body: Awaitable[dict[str, Any]]) -> bool:
    return not (await body)["hit"]


async def _is(told: Awaitable[str], word: str) -> bool:
    return await told == word
