"""One contract, every store. What the caches rely on holds for each of them, real Redis and Qdrant's own code included."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import pytest
from qdrant_client import AsyncQdrantClient

from cache.backends.memory import MemoryStore
from cache.backends.qdrant_server import QdrantServer
from cache.backends.redis_link import RedisLink
from cache.backends.redis_store import RedisStore
from cache.backends.vector_disk import VectorDisk
from cache.backends.vector_memory import VectorMemory
from cache.stores import ExactStore, Labels, VectorStore, Which
from gateway.core.clock import ManualClock, SystemClock
from tests.fixtures.redis import RedisServer

_ROUTES = itertools.count()


@pytest.fixture(params=["memory", "redis"])
async def exact(request: pytest.FixtureRequest, redis_url: str) -> AsyncIterator[ExactStore]:
    if request.param == "memory":
        yield MemoryStore(SystemClock(), max_entries=1000, max_bytes=1 << 26)
        return
    link = RedisLink(redis_url, SystemClock(), budget=5)
    store = RedisStore(link, f"contract {next(_ROUTES)}")
    yield store
    await store.purge()
    await link.close()


async def test_what_was_put_is_got(exact: ExactStore) -> None:
    """Any bytes come back as they were, the latest under each id; what was never put is None."""
    values = {"e-1": b"", "e-2": bytes(range(256)), "e-3": b"\r\n$-1\r\n", "e-4": b"x" * 1_000_000}
    for id, value in values.items():
        await exact.put(id, b"older", 60)
        await exact.put(id, value, 60)
    assert {id: await exact.get(id) for id in values} == values
    assert await exact.get("e-5") is None


async def test_what_was_deleted_is_gone(exact: ExactStore) -> None:
    """Deleting says whether there was something, and takes nothing else along; purging takes all and counts."""
    for number in range(1200):
        await exact.put(f"e-{number}", b"v", 60)
    there = 1000 if isinstance(exact, MemoryStore) else 1200
    assert await exact.delete("e-1199")
    assert not await exact.delete("e-1199")
    assert await exact.get("e-1198") == b"v"
    assert await exact.purge() == there - 1
    assert await exact.get("e-1198") is None
    assert await exact.purge() == 0


async def test_a_purge_takes_what_fits_and_nothing_else(exact: ExactStore) -> None:
    """By tag, by tenant, by age and by all together; a dry run counts the same and takes nothing."""
    for number in range(700):
        tags = ("all", "even" if number % 2 == 0 else "odd:*")
        await exact.put(f"e-{number}", b"v", 60, Labels("acme" if number < 600 else "other", tags))
    await exact.put("e-plain", b"v", 60)
    for which, count in (
        (Which(tag="nothing"), 0),
        (Which(tenant="nobody"), 0),
        (Which(older_than=60.0), 0),
        (Which(tag="even", tenant="other"), 50),
        (Which(tag="even"), 300),
        (Which(tag="odd:*", tenant="acme", older_than=0.0), 300),
        (Which(tenant="other"), 50),
        (Which(older_than=0.0), 1),
    ):
        assert await exact.purge(which, dry_run=True) == count, which
        assert await exact.purge(which, dry_run=True) == count, "a dry run takes nothing"
        assert await exact.purge(which) == count, which
        assert await exact.purge(which) == 0
    assert await exact.purge(dry_run=True) == 0


async def test_an_entry_that_is_stored_anew_is_found_by_its_new_labels(exact: ExactStore) -> None:
    """The latest labels hold, and an entry that was deleted is not counted."""
    await exact.put("e-1", b"v", 60, Labels("acme", ("old",)))
    await exact.put("e-1", b"w", 60, Labels("acme", ("new",)))
    assert await exact.purge(Which(tag="new"), dry_run=True) == 1
    await exact.delete("e-1")
    assert await exact.purge(Which(tag="new"), dry_run=True) == 0


async def test_redis_keeps_its_indices_bounded_and_whole(redis_url: str, redis_server: RedisServer) -> None:
    """Beyond the bound the oldest entries go, from the indices and the store alike; old ones go whatever their TTL, and no
    index outlives its entries."""
    link = RedisLink(redis_url, SystemClock(), budget=5)
    store = RedisStore(link, "bounded", max_entries=10)
    for number in range(40):
        await store.put(f"e-{number}", b"v", 60, Labels("t", ("tag",)))
    assert [await store.get(f"e-{number}") is not None for number in (0, 29, 30, 39)] == [False, False, True, True]
    assert await store.purge(Which(tag="tag"), dry_run=True) == 10
    for index in (store._index(), store._index(tenant="t"), store._index(tag="tag")):
        assert redis_server.command("ZCARD", index) == b":10\r\n"
        assert 0 < int(redis_server.command("PTTL", index)[1:]) <= 60_000
    brief = RedisStore(link, "bounded", longest=0.001)
    await asyncio.sleep(0.01)
    await brief.put("e-new", b"v", 60, Labels("t", ("tag",)))
    assert await store.purge(dry_run=True) == 1
    assert await store.purge() == 1
    assert not await link.call("EXISTS", store._index(), store._index(tag="tag"))
    await link.close()


async def test_a_purge_leaves_other_routes_alone(redis_url: str) -> None:
    """Two routes with the same ids and tags share no entry and no index."""
    link = RedisLink(redis_url, SystemClock(), budget=5)
    one, two = RedisStore(link, "one"), RedisStore(link, "two")
    for store in (one, two):
        await store.put("e-1", b"v", 60, Labels("t", ("tag",)))
    assert await one.purge(Which(tag="tag")) == 1
    assert await two.get("e-1") == b"v"
    assert await one.purge() == 0
    assert await two.purge() == 1
    await link.close()


async def test_many_at_once_get_each_their_own(exact: ExactStore) -> None:
    """However many tasks share the store, no reply reaches another's caller."""

    async def one(number: int) -> bool:
        await exact.put(f"e-{number}", b"%d" % number * (number % 50 + 1), 60)
        await asyncio.sleep(0)
        return await exact.get(f"e-{number}") == b"%d" % number * (number % 50 + 1)

    assert all(await asyncio.gather(*(one(number) for number in range(800))))


async def test_an_exact_entry_ends_with_its_time() -> None:
    """In memory an entry is gone at its expiry, read or swept, and not before."""
    clock = ManualClock()
    store = MemoryStore(clock, max_entries=10, max_bytes=1 << 20)
    await store.put("a", b"v", 10)
    await store.put("b", b"v", 10)
    clock.advance(9.99)
    assert await store.get("a") == b"v"
    clock.advance(0.02)
    assert await store.get("a") is None
    await store.sweep()
    assert store.stats()["entries"] == 0


Made = Callable[..., VectorStore]


@pytest.fixture(params=["memory", "disk", "qdrant"])
async def make(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[ManualClock, Made]]:
    """A clock, and what makes a store of the kind on that clock."""
    clock = ManualClock()
    client = AsyncQdrantClient(":memory:")
    opened: list[VectorStore] = []

    def one(*, entries: int = 1000, dim: int = 8) -> VectorStore:
        sizes = {"dim": dim, "max_entries": entries}
        match request.param:
            case "memory":
                store: VectorStore = VectorMemory(clock, max_bytes=1 << 26, **sizes)
            case "disk":
                store = VectorDisk(tmp_path / "v.sqlite", clock, encoder="e", max_bytes=1 << 26, **sizes)
            case _:
                store = QdrantServer(client, clock, route="r", encoder="e", budget=5, **sizes)
        opened.append(store)
        return store

    yield clock, one
    for store in opened:
        await store.close()
    await client.close()


def direction(number: int, dim: int = 8) -> np.ndarray:
    vector = np.random.default_rng(number).standard_normal(dim).astype(np.float32)
    return vector / np.linalg.norm(vector)


def id_of(number: int) -> str:
    return f"s-{number:032x}"


pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect")


async def test_the_nearest_of_the_partition_are_found(make: tuple[ManualClock, Made]) -> None:
    """Best first, as many as asked, none below the floor, none of another partition: as a plain scan would find."""
    _, made = make
    store = made()
    await store.start()
    for number in range(60):
        await store.put(f"p{number % 3}", id_of(number), direction(number), b"payload %d" % number, 60)
    asked = direction(999)
    for partition in range(3):
        scores = {number: float(direction(number) @ asked) for number in range(60) if number % 3 == partition}
        best = sorted(scores, key=lambda number: -scores[number])[:4]
        near = await store.search(f"p{partition}", asked, 4, scores[best[2]] - 1e-4)
        assert [one.id for one in near] == [id_of(number) for number in best[:3]]
        assert [one.payload for one in near] == [b"payload %d" % number for number in best[:3]]
        assert [one.score for one in near] == pytest.approx([scores[number] for number in best[:3]], abs=1e-4)
    assert await store.search("p9", asked, 4, -1.0) == []


async def test_a_vector_entry_ends_with_its_time(make: tuple[ManualClock, Made]) -> None:
    """An expired entry is not found even before the sweep has taken it out."""
    clock, made = make
    store = made()
    await store.start()
    await store.put("p", id_of(1), direction(1), b"short", 10)
    await store.put("p", id_of(2), direction(1), b"long", 100)
    clock.advance(10.5)
    assert [one.payload for one in await store.search("p", direction(1), 5, 0.9)] == [b"long"]
    await store.sweep()
    assert store.stats()["entries"] == 1


async def test_an_id_holds_one_entry(make: tuple[ManualClock, Made]) -> None:
    """Putting an id again replaces the entry, its vector and its partition; deleting it is told once."""
    _, made = make
    store = made()
    await store.start()
    await store.put("p", id_of(1), direction(1), b"old", 60)
    await store.put("q", id_of(1), direction(2), b"new", 60)
    assert await store.search("p", direction(1), 5, -1.0) == []
    assert [one.payload for one in await store.search("q", direction(2), 5, 0.99)] == [b"new"]
    assert await store.delete(id_of(1))
    assert not await store.delete(id_of(1))
    assert await store.search("q", direction(2), 5, -1.0) == []


async def test_the_count_is_bounded(make: tuple[ManualClock, Made]) -> None:
    """After the sweep no more than `max_entries` are left, and the latest are among them."""
    clock, made = make
    store = made(entries=20)
    await store.start()
    for number in range(50):
        clock.advance(0.1)
        await store.put("p", id_of(number), direction(number), b"v", 600)
    await store.sweep()
    assert store.stats()["entries"] <= 20
    left = {one.id for one in await store.search("p", direction(1), 100, -1.0)}
    assert left == {id_of(number) for number in range(30, 50)}


async def test_a_purge_takes_all(make: tuple[ManualClock, Made]) -> None:
    """After a purge nothing is found, and the store is of use as before."""
    _, made = make
    store = made()
    await store.start()
    for number in range(5):
        await store.put("p", id_of(number), direction(number), b"v", 60)
    assert await store.purge() == 5
    assert await store.search("p", direction(1), 9, -1.0) == []
    await store.put("p", id_of(1), direction(1), b"v", 60)
    assert len(await store.search("p", direction(1), 9, -1.0)) == 1


async def test_vectors_are_purged_by_tag_tenant_and_age(make: tuple[ManualClock, Made]) -> None:
    """A purge forgets the entries that fit all that is given and no other; a dry run counts the same and forgets none."""
    clock, made = make
    store = made()
    await store.start()
    vector = np.eye(1, 8, dtype=np.float32)[0]
    old, new = f"s-{1:032x}", f"s-{2:032x}"
    await store.put("p", old, vector, b"old", 1000, Labels("acme", ("corpus:1", "all")))
    clock.advance(100)
    await store.put("p", new, vector, b"new", 1000, Labels("other", ("corpus:2", "all")))

    async def left() -> set[str]:
        return {near.id for near in await store.search("p", vector, 5, -1.0)}

    for which, count in (
        (Which(tag="none"), 0),
        (Which(tag="all"), 2),
        (Which(tag="all", tenant="acme"), 1),
        (Which(older_than=50), 1),
        (Which(older_than=500), 0),
        (Which(tag="corpus:2", older_than=50), 0),
    ):
        assert await store.purge(which, dry_run=True) == count
    assert await left() == {old, new}
    assert await store.purge(Which(tag="corpus:1")) == 1
    assert await left() == {new}
    assert await store.purge(Which(tenant="other")) == 1
    assert await left() == set()
    await store.close()
