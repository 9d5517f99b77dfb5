from __future__ import annotations

from cache.backends.memory import MemoryStore
from cache.build import Caches, build
from cache.config import CacheConfig, ExactConfig
from cache.exact import ExactCache
from cache.key import Keyer
from cache.notes import EXACT
from cache.policy import HEADER
from cache.record import Entry, pack
from cache.stores import StoreDown
from cache.tap import CacheTap, Shelf
from cache.writer import Writer
from gateway.core.clock import ManualClock
from gateway.core.events import Usage
from gateway.core.exchange import Exchange
from gateway.core.response import said
from tests.fixtures.cache_world import SECRET, ask, chat, exchange, look, play
from tests.fixtures.cache_world import said as said_events

CLOCK = ManualClock()


async def started(clock: ManualClock | None = None) -> Caches:
    caches = build({"default": CacheConfig(exact=ExactConfig())}, secret=SECRET, clock=clock or ManualClock())
    await caches.start()
    return caches


async def test_the_same_question_is_answered_once() -> None:
    """The second asker of the same gets the first one's answer, its id, age and what it saved."""
    clock = ManualClock()
    caches = await started(clock)
    assert await ask(caches, exchange("hi", clock=clock), "hello you") is None
    clock.advance(7)
    again = exchange(chat("hi", stream=True), clock=clock)
    answer = await look(caches.routes["default"], again)
    assert answer is not None
    assert answer.kind == "cached"
    assert answer.response is not None
    assert answer.response.choices[0].text == "hello you"
    assert again.cache.result == "hit"
    assert again.cache.age == 7.0
    assert again.cache.id.startswith("e-")
    assert again.cache.saved == Usage(input_tokens=10, output_tokens=5)
    await caches.close()


async def test_no_store_neither_reads_nor_stores() -> None:
    """`no-store` leaves no trace and uses none."""
    caches = await started()
    private = exchange("hi", headers={HEADER: "no-store"})
    assert await ask(caches, private, "hello") is None
    assert private.cache.reason == "no-store"
    assert await ask(caches, exchange("hi"), "hello again") is None, "nothing was stored before"
    assert await ask(caches, exchange("hi", headers={HEADER: "no-store"}), "x") is None, "and nothing is read"
    await caches.close()


async def test_no_cache_refreshes() -> None:
    """`no-cache` goes to the model, and what it says replaces the entry."""
    caches = await started()
    await ask(caches, exchange("hi"), "old")
    assert await ask(caches, exchange("hi", headers={HEADER: "no-cache"}), "new") is None
    found = await ask(caches, exchange("hi"), "never asked")
    assert found is not None
    assert found.choices[0].text == "new"
    await caches.close()


async def test_max_age_refreshes_what_is_older() -> None:
    """An entry above the asked age is not served, and the fresh answer replaces it; a younger one is served."""
    clock = ManualClock()
    caches = await started(clock)

    def asking() -> Exchange:
        return exchange("hi", clock=clock, headers={HEADER: "max-age=10"})

    await ask(caches, exchange("hi", clock=clock), "old")
    clock.advance(9)
    found = await ask(caches, asking(), "")
    assert found is not None
    clock.advance(2)
    stale = asking()
    assert await ask(caches, stale, "new") is None
    assert (stale.cache.result, stale.cache.reason) == ("miss", "max-age")
    found = await ask(caches, asking(), "never asked")
    assert found is not None
    assert found.choices[0].text == "new"
    await caches.close()


async def test_counts_are_not_cached() -> None:
    """Only what a model makes is."""
    caches = await started()
    made = exchange("hi")
    made.operation = "count_tokens"
    assert await look(caches.routes["default"], made) is None
    assert (made.cache.result, made.cache.reason) == ("bypass", "operation")
    assert made.facts.get(EXACT) is None
    await caches.close()


async def test_an_entry_under_the_wrong_key_is_not_served() -> None:
    """The whole key is compared on reading: a store that returns another's entry is a miss."""
    store = MemoryStore(CLOCK, max_entries=10, max_bytes=1 << 20)
    cache = ExactCache(Keyer(SECRET, "user"), store)
    mine = exchange("hi", clock=CLOCK)
    await cache.decide(mine)
    note = mine.facts.get(EXACT)
    assert note is not None
    planted = Entry(key="another key", response=said("poison", id="1", model="m", created=1), created=1.0)
    await store.put(note.id, pack(planted), 60)
    again = exchange("hi", clock=CLOCK)
    assert await cache.decide(again) is None
    assert (again.cache.result, again.cache.reason) == ("miss", "unreadable")


class Broken:
    async def get(self, id: str) -> bytes | None:
        raise StoreDown("timeout")


async def test_a_dead_store_is_a_miss_and_nothing_is_written_to_it() -> None:
    """The request goes on, says what it did without, and leaves no work for the dead store."""
    cache = ExactCache(Keyer(SECRET, "user"), Broken())  # type: ignore[arg-type]
    made = exchange("hi")
    assert await cache.decide(made) is None
    assert made.cache.result == "miss"
    assert made.degraded == ["exact_cache"]
    note = made.facts.get(EXACT)
    assert note is not None
    assert note.down
    writer = Writer()
    play(
        CacheTap(Shelf(MemoryStore(CLOCK, max_entries=9, max_bytes=1 << 20), 60.0, None, 0.0), writer),
        made,
        said_events("x"),
    )
    assert writer.stats()["queued"] == 0


async def test_what_a_caller_gets_is_his_own() -> None:
    """Two readers of one entry get two objects: what one's stages do to it, the other does not see."""
    caches = await started()
    await ask(caches, exchange("hi"), "hello")
    first, second = await ask(caches, exchange("hi"), ""), await ask(caches, exchange("hi"), "")
    assert first is not None
    assert first == second
    assert first is not second
    first.choices[0].text = "changed"
    assert second is not None
    assert second.choices[0].text == "hello"
    await caches.close()
