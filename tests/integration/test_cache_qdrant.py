"""The Qdrant adapter when the server is not there."""

from __future__ import annotations

import asyncio
import time

import pytest

from cache.backends.qdrant_server import QdrantLink
from cache.build import build
from cache.config import CacheConfig, SemanticConfig
from gateway.core.clock import SystemClock
from tests.fixtures.cache_world import SECRET, TrigramEmbed, exchange, look
from tests.fixtures.redis import free_port

CONFIG = {"default": CacheConfig(semantic=SemanticConfig(evidence="assume"))}


async def test_a_qdrant_that_is_not_there_is_a_miss() -> None:
    """The gateway starts without it; lookups are misses in their budget, and soon cost nothing."""
    url = f"http://127.0.0.1:{free_port()}"
    caches = build(CONFIG, secret=SECRET, clock=SystemClock(), qdrant=url, embed=TrigramEmbed())
    await caches.start()
    reasons = []
    for _ in range(5):
        made = exchange("What is the capital of Peru?")
        began = time.perf_counter()
        assert await look(caches.routes["default"], made) is None
        assert time.perf_counter() - began < 1.0
        assert made.degraded == ["semantic_cache"]
        reasons.append(made.cache.reason)
    assert reasons[-1] == "semantic_cache:breaker_open"
    assert caches.stats()["default.semantic"]["breaker_open"] == 1
    await caches.close()


async def test_a_qdrant_that_hangs_is_a_miss() -> None:
    """A server that takes the connection and says nothing costs its budget, and the shutdown is not held up."""
    hung = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await hung.wait()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    caches = build(CONFIG, secret=SECRET, clock=SystemClock(), qdrant=url, embed=TrigramEmbed())
    await caches.start()
    made = exchange("What is the capital of Peru?")
    began = time.perf_counter()
    assert await look(caches.routes["default"], made) is None
    assert time.perf_counter() - began < 1.0
    assert made.cache.reason == "semantic_cache:timeout"
    async with asyncio.timeout(5):
        await caches.close()
    hung.set()
    server.close()


@pytest.mark.parametrize(
    ("url", "bare", "key"),
    [
        ("http://qdrant:6333", "http://qdrant:6333", None),
        ("https://:s%2Fecret@q.example.com:443", "https://q.example.com:443", "s/ecret"),
        ("http://[::1]", "http://[::1]:6333", None),
    ],
)
async def test_the_url_may_carry_the_key(url: str, bare: str, key: str | None) -> None:
    """The API key goes into a header and not into the address that errors may show."""
    link = QdrantLink(url)
    options = link.client.init_options
    assert (options["url"], options["api_key"]) == (bare, key)
    await link.close()
