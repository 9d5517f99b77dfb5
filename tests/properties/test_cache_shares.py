"""A full memory store is shared fairly among tenants, whatever they store and in whatever order."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache.backends.evict import Policy
from cache.backends.memory import _OVERHEAD, MemoryStore
from cache.stores import Labels
from gateway.core.clock import ManualClock

TENANTS = ("a", "b", "c", "d")
PUTS = st.lists(st.tuples(st.sampled_from(TENANTS), st.integers(0, 30), st.integers(0, 3000)), max_size=80)


def put(store: MemoryStore, tenant: str, number: int, size: int) -> None:
    asyncio.run(store.put(f"{tenant}{number}", bytes(size), 60, Labels(tenant)))


def held(store: MemoryStore) -> dict[str, dict[str, int]]:
    """Tenant to id to size."""
    out: dict[str, dict[str, int]] = {}
    for id, kept in store._entries.items():
        out.setdefault(kept.labels.tenant, {})[id] = len(kept.value) + _OVERHEAD
    return out


@pytest.mark.parametrize("policy", ["lru", "lfu", "fifo"])
@settings(max_examples=60, deadline=None)
@given(PUTS)
def test_nobody_loses_its_equal_share_to_another(policy: Policy, puts: list[tuple[str, int, int]]) -> None:
    """What one tenant stores takes nothing from a tenant that holds no more than its equal part, in bytes and in entries;
    the bounds and the books hold after every step."""
    store = MemoryStore(ManualClock(), max_entries=12, max_bytes=16_000, evict=policy)
    for tenant, number, size in puts:
        before = held(store)
        put(store, tenant, number, size)
        after = held(store)
        parts = len({*before, tenant})
        for other, entries in before.items():
            fair = sum(entries.values()) * parts <= 16_000 and len(entries) * parts <= 12
            if other != tenant and fair:
                assert after.get(other) == entries
        assert sum(map(len, after.values())) == store.stats()["entries"] <= 12
        assert sum(sum(entries.values()) for entries in after.values()) == store.stats()["bytes"] <= 16_000
        assert len(after) == store.stats()["tenants"]


@settings(max_examples=60, deadline=None)
@given(PUTS)
def test_no_tenant_holds_more_than_it_may(puts: list[tuple[str, int, int]]) -> None:
    """With `max_bytes_per_tenant` nobody is above it, however empty the rest is."""
    store = MemoryStore(ManualClock(), max_entries=1000, max_bytes=100_000, max_bytes_per_tenant=5000)
    for tenant, number, size in puts:
        put(store, tenant, number, size)
        assert all(sum(entries.values()) <= 5000 for entries in held(store).values())


def test_a_tenant_that_is_alone_may_use_all_of_it() -> None:
    """The share is of those who are there: without others, one fills the store, and gives way when they come."""
    store = MemoryStore(ManualClock(), max_entries=100, max_bytes=20 * 1000)
    for number in range(50):
        put(store, "a", number, 1000 - _OVERHEAD)
    assert len(held(store)["a"]) == 20
    for number in range(50):
        put(store, "b", number, 1000 - _OVERHEAD)
    assert {name: len(entries) for name, entries in held(store).items()} == {"a": 10, "b": 10}
