from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from cache.build import build
from cache.config import CacheConfig, ExactConfig, SemanticConfig
from cache.notes import EXACT, SEMANTIC
from cache.policy import HEADER
from cache.shadow import SHADOW
from cache.store_build import Purged
from gateway.core.clock import ManualClock
from gateway.core.errors import NotCached
from tests.fixtures.cache_world import SECRET, TrigramEmbed, ask, exchange, look, play, said

BOTH = CacheConfig(exact=ExactConfig(), semantic=SemanticConfig(threshold=0.9, evidence="assume"))
Q = "What is the capital of Peru?"
DRESSED = "hello, what is the capital of peru"


async def test_each_route_gets_its_parts() -> None:
    """A route has what it is configured for, and the tap consumes exactly what its lookups leave."""
    routes = {
        "both": BOTH,
        "exact": CacheConfig(exact=ExactConfig()),
        "vectors": CacheConfig(semantic=SemanticConfig()),
    }
    caches = build({**routes, "none": None}, secret=SECRET, clock=ManualClock(), embed=TrigramEmbed())
    both, exact, vectors, none = (caches.routes[name] for name in ("both", "exact", "vectors", "none"))
    assert both.exact is not None
    assert both.semantic is not None
    assert both.tap is not None
    assert both.tap.consumes == (EXACT, SEMANTIC, SHADOW)
    assert [both.exact.name, both.semantic.name] == ["exact_cache", "semantic_cache"]
    assert (*both.exact.produces, *both.semantic.produces) == (EXACT, SEMANTIC, SHADOW)
    assert exact.semantic is None
    assert exact.tap is not None
    assert exact.tap.consumes == (EXACT,)
    assert exact.exact is not None
    assert exact.exact.produces == (EXACT,)
    assert vectors.tap is not None
    assert vectors.tap.consumes == (SEMANTIC, SHADOW)
    assert none.tap is None
    assert none.semantic is None
    with pytest.raises(NotCached):
        await look(none, exchange("hi", route="none", headers={HEADER: "only-if-cached"}))
    assert await look(none, exchange("hi", route="none")) is None


async def test_an_entry_can_be_evicted_by_the_id_a_client_saw() -> None:
    """What a header named is gone from its store afterwards, and no other entry is."""
    caches = build({"default": BOTH}, secret=SECRET, clock=ManualClock(), embed=TrigramEmbed())
    await caches.start()
    await ask(caches, exchange(Q), "Lima.")
    await ask(caches, exchange("What is the capital of Chile?"), "Santiago.")
    hit, near = exchange(Q), exchange(DRESSED)
    await look(caches.routes["default"], hit)
    await look(caches.routes["default"], near)
    assert hit.cache.id != near.cache.id
    assert await caches.evict(hit.cache.id)
    assert not await caches.evict(hit.cache.id)
    assert await caches.evict(near.cache.id)
    for nonsense in ("", "e-", "x-" + "0" * 32, "e-" + "0" * 31, "e-" + "z" * 32, "e-" + "*" * 32):
        assert not await caches.evict(nonsense)
    assert await look(caches.routes["default"], exchange(Q)) is None
    assert await look(caches.routes["default"], exchange("What is the capital of Chile?")) is not None
    await caches.close()


def counted(told: Mapping[str, Purged]) -> int:
    assert not any(one.failed or one.shared for one in told.values())
    return sum(one.count for one in told.values())


async def test_purging_a_route_leaves_the_others() -> None:
    """One route's entries go, the other's stay; without a name all go."""
    caches = build({"default": BOTH, "support": BOTH}, secret=SECRET, clock=ManualClock(), embed=TrigramEmbed())
    await caches.start()
    await ask(caches, exchange(Q), "Lima.")
    await ask(caches, exchange(Q, route="support"), "Lima!")
    assert counted(await caches.purge("support", dry_run=True)) == 2
    assert counted(await caches.purge("support")) == 2
    assert await look(caches.routes["support"], exchange(Q, route="support")) is None
    assert await look(caches.routes["default"], exchange(Q)) is not None
    assert counted(await caches.purge()) == 2
    with pytest.raises(KeyError):
        await caches.purge("nowhere")
    await caches.close()


async def test_gauges_tell_what_is_held() -> None:
    """The numbers of every bounded thing, by route and kind."""
    caches = build({"default": BOTH}, secret=SECRET, clock=ManualClock(), embed=TrigramEmbed())
    await caches.start()
    await ask(caches, exchange(Q), "Lima.")
    stats = caches.stats()
    assert set(stats) == {"writer", "default.exact", "default.semantic", "default.evidence", "default.coalescing"}
    assert stats["default.exact"]["entries"] == stats["default.semantic"]["entries"] == 1
    assert stats["writer"]["written"] == 2
    await caches.close()


async def test_shutdown_writes_what_is_queued(tmp_path: Path) -> None:
    """An answer that was queued when the process was told to stop is there after the restart."""
    clock = ManualClock()
    folder = str(tmp_path / "vectors")
    first = build({"default": BOTH}, secret=SECRET, clock=clock, qdrant=folder, embed=TrigramEmbed())
    await first.start()
    parts = first.routes["default"]
    made = exchange(Q)
    await look(parts, made)
    play(parts.tap, made, said("Lima."))
    await first.close()
    second = build({"default": BOTH}, secret=SECRET, clock=clock, qdrant=folder, embed=TrigramEmbed())
    await second.start()
    answer = await look(second.routes["default"], exchange(Q))
    assert answer is not None
    assert answer.kind == "semantic"
    await second.close()


def test_a_semantic_cache_needs_an_encoder() -> None:
    """Without one the start stops and says where."""
    with pytest.raises(ValueError, match=r"routes\.default\.cache\.semantic: needs the embedding model"):
        build({"default": BOTH}, secret=SECRET, clock=ManualClock())


def test_what_is_not_used_is_not_loaded() -> None:
    """An exact cache in memory costs neither Redis's, nor Qdrant's, nor numpy's memory."""
    program = (
        "import sys; from cache.build import build; from cache.config import *; from gateway.core.clock import SystemClock;"
        "build({'a': CacheConfig(exact=ExactConfig())}, secret=b'x' * 32, clock=SystemClock());"
        "print([name for name in ('numpy', 'redis', 'qdrant_client', 'sqlite3') if name in sys.modules])"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
