from __future__ import annotations

import gc
import tracemalloc

import numpy as np
import pytest

from cache.backends.evict import Frequency, Policy, order_of
from cache.backends.memory import _OVERHEAD, MemoryStore
from cache.backends.vector_memory import VectorMemory
from gateway.core.clock import ManualClock


def store(policy: Policy = "lru", *, entries: int = 3, size: int = 1 << 20) -> MemoryStore:
    return MemoryStore(ManualClock(), max_entries=entries, max_bytes=size, evict=policy)


@pytest.mark.parametrize(("policy", "gone"), [("lru", "b"), ("fifo", "a"), ("lfu", "c")])
async def test_each_policy_evicts_its_own(policy: Policy, gone: str) -> None:
    """lru: unused longest. fifo: oldest. lfu: read least, the older of two alike."""
    cache = store(policy)
    for id in "abc":
        await cache.put(id, b"v", 60)
    for id in "abcbbaa":
        if policy == "lfu" or id != "b":
            await cache.get(id)
    await cache.put("d", b"v", 60)
    left = [id for id in "abcd" if await cache.get(id) is not None]
    assert gone not in left
    assert len(left) == 3
    assert cache.stats()["evicted"] == 1


async def test_a_fresh_entry_survives_a_full_lfu() -> None:
    """Among popular entries the new one is not the one that goes."""
    cache = store("lfu", entries=2)
    for id in ("a", "b"):
        await cache.put(id, b"v", 60)
        for _ in range(9):
            await cache.get(id)
    await cache.put("new", b"v", 60)
    assert await cache.get("new") == b"v"


def test_an_empty_order_has_no_victim() -> None:
    """There is nothing to evict from nothing."""
    with pytest.raises(LookupError):
        Frequency().victim()
    with pytest.raises((LookupError, StopIteration)):
        order_of("lru").victim()


async def test_bytes_are_bounded() -> None:
    """The bytes of all entries never exceed the bound, and a value above it is not kept at all."""
    cache = store(entries=1000, size=50_000)
    for number in range(100):
        await cache.put(str(number), b"v" * 2000, 60)
        assert cache.stats()["bytes"] <= 50_000
    assert cache.stats()["entries"] == 50_000 // (2000 + _OVERHEAD)
    await cache.put("huge", b"v" * 60_000, 60)
    assert await cache.get("huge") is None
    assert await cache.get("99") is not None


async def test_replacing_an_entry_keeps_the_books() -> None:
    """An id stored twice is one entry with the later value."""
    cache = store()
    await cache.put("a", b"first", 60)
    await cache.put("a", b"second value", 60)
    assert await cache.get("a") == b"second value"
    assert cache.stats() == {"entries": 1, "tenants": 1, "bytes": 12 + _OVERHEAD, "evicted": 0, "expired": 0}


async def test_the_counted_overhead_covers_the_real_one() -> None:
    """A store costs no more memory than it says, so the byte bound is a bound."""
    cache = MemoryStore(ManualClock(), max_entries=20_000, max_bytes=1 << 30)
    ids = [f"e-{number:032x}" for number in range(10_000)]
    gc.collect()
    tracemalloc.start()
    for id in ids:
        await cache.put(id + "", bytes(100), 60)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used + 80 * len(ids) <= cache.stats()["bytes"], "80 bytes for an id, made before the measurement began"


def unit(*values: float) -> np.ndarray:
    vector = np.array(values, np.float32)
    return vector / np.linalg.norm(vector)


async def test_vectors_used_longest_ago_go_first() -> None:
    """A served entry outlives one that was not, and the bounds hold for count and bytes."""
    cache = VectorMemory(ManualClock(), dim=2, max_entries=3, max_bytes=1 << 20)
    for number, id in enumerate("abc"):
        await cache.put("p", id, unit(1, number), b"v", 60)
    await cache.search("p", unit(1, 0), 1, 0.99)
    await cache.put("q", "d", unit(1, 1), b"v", 60)
    ids = {near.id for near in await cache.search("p", unit(1, 1), 9, -1)}
    assert ids == {"a", "c"}
    assert cache.stats()["entries"] == 3
    small = VectorMemory(ManualClock(), dim=2, max_entries=99, max_bytes=5000)
    for number in range(20):
        await small.put("p", str(number), unit(1, number), b"v" * 100, 60)
    assert small.stats()["bytes"] <= 5000
    assert small.stats()["evicted"] > 10


async def test_a_partition_that_empties_is_gone() -> None:
    """Partitions cost nothing once their last entry has left, so users who come and go leave nothing behind."""
    clock = ManualClock()
    cache = VectorMemory(clock, dim=2, max_entries=1000, max_bytes=1 << 20)
    for number in range(500):
        await cache.put(f"user {number}", str(number), unit(1, 2), b"v", 1 + number % 2)
    clock.advance(1.5)
    await cache.sweep()
    assert cache.stats() == {
        "entries": 250,
        "partitions": 250,
        "bytes": 250 * (1 + 8 + 1024),
        "evicted": 0,
        "expired": 250,
    }
    assert await cache.purge() == 250
    assert cache.stats()["partitions"] == 0
