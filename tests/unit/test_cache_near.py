from __future__ import annotations

import pytest

from cache.backends.memory import MemoryStore
from cache.backends.near import NearStore
from cache.stores import ALL, Labels, StoreDown, Which
from gateway.core.clock import ManualClock


class Far(MemoryStore):
    """A shared store that counts its reads and may be out of reach."""

    reads = 0
    down = False

    async def get(self, id: str) -> bytes | None:
        self.reads += 1
        if self.down:
            raise StoreDown("timeout")
        return await super().get(id)


def tiers(clock: ManualClock, ttl: float = 2.0) -> tuple[NearStore, Far]:
    far = Far(clock, max_entries=99, max_bytes=1 << 20)
    return NearStore(MemoryStore(clock, max_entries=2, max_bytes=1 << 20), far, ttl), far


async def test_what_is_near_costs_no_round_trip_for_a_while() -> None:
    """Read once from afar, it is served near until the near tier's time is over, and then asked for again."""
    clock = ManualClock()
    store, far = tiers(clock)
    await far.put("e-1", b"v", 60)
    for _ in range(5):
        assert await store.get("e-1") == b"v"
    assert far.reads == 1
    clock.advance(2.1)
    assert await store.get("e-1") == b"v"
    assert far.reads == 2


async def test_what_another_process_purged_is_served_for_the_near_time_at_most() -> None:
    """Purged behind its back, the entry is gone from here when the near tier's few seconds are over."""
    clock = ManualClock()
    store, far = tiers(clock)
    await store.put("e-1", b"v", 60)
    await far.purge()
    assert await store.get("e-1") == b"v"
    clock.advance(2.1)
    assert await store.get("e-1") is None


@pytest.mark.parametrize("which", [ALL, Which(tag="t"), Which(tenant="acme"), Which(older_than=0.5)])
async def test_a_purge_through_this_process_shows_at_once(which: Which) -> None:
    """Whatever it was purged by, an entry that is gone afar is gone here; a dry run leaves both as they are."""
    clock = ManualClock()
    store, far = tiers(clock)
    await store.put("e-1", b"v", 60, Labels("acme", ("t",)))
    clock.advance(1)
    assert await store.purge(which, dry_run=True) == 1
    assert await store.get("e-1") == b"v"
    assert far.reads == 0
    assert await store.purge(which) == 1
    assert await store.get("e-1") is None


async def test_deleting_and_replacing_show_at_once() -> None:
    """The newest value is served, and a deleted one is not."""
    store, _ = tiers(ManualClock())
    await store.put("e-1", b"old", 60)
    await store.put("e-1", b"new", 60)
    assert await store.get("e-1") == b"new"
    assert await store.delete("e-1")
    assert await store.get("e-1") is None


async def test_an_entry_never_outlives_its_own_ttl_by_being_stored_near() -> None:
    """A TTL shorter than the near tier's holds there too."""
    clock = ManualClock()
    store, _ = tiers(clock)
    await store.put("e-1", b"v", 0.5)
    clock.advance(0.6)
    assert await store.get("e-1") is None


async def test_what_is_near_is_served_while_the_store_is_down() -> None:
    """Out of reach, the shared store is missed only for what is not near."""
    store, far = tiers(ManualClock())
    await store.put("e-1", b"v", 60)
    far.down = True
    assert await store.get("e-1") == b"v"
    with pytest.raises(StoreDown):
        await store.get("e-2")


async def test_the_near_tier_is_bounded_in_size_and_time() -> None:
    """It holds its few entries, and may not be told to keep them for long."""
    store, _ = tiers(ManualClock())
    for number in range(9):
        await store.put(f"e-{number}", b"v", 60)
    assert store.stats()["near_entries"] == 2
    with pytest.raises(ValueError, match="5 s"):
        tiers(ManualClock(), ttl=6.0)
