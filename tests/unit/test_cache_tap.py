from __future__ import annotations

from collections.abc import Sequence

import pytest

from cache.backends.memory import MemoryStore
from cache.backends.vector_memory import VectorMemory
from cache.notes import EXACT, SEMANTIC, ExactNote, SemanticNote
from cache.record import Entry, pack, unpack
from cache.stores import Labels
from cache.tap import MAX_ANSWER, CacheTap, Shelf
from cache.writer import Writer
from gateway.core.answer import Answer
from gateway.core.clock import ManualClock
from gateway.core.errors import StreamCut
from gateway.core.events import (
    Blocked,
    ChoiceFinished,
    Event,
    Failed,
    Finished,
    Reasoning,
    Relayed,
    Started,
    Text,
    ToolCall,
    Unknown,
    Usage,
)
from gateway.core.exchange import Exchange
from gateway.core.response import fold
from gateway.core.verdict import Verdict
from tests.fixtures.cache_world import TrigramEmbed, exchange, play, said

NOTE = ExactNote("e-" + "0" * 32, "the whole key")


class Shelved:
    """A tap over one memory store, and what it stored."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock, max_entries=100, max_bytes=1 << 26)
        self.writer = Writer()
        self.tap = CacheTap(Shelf(self.store, 100.0, None, 0.0), self.writer)

    def noted(self, **kwargs: object) -> Exchange:
        made = exchange("hi", clock=self.clock, **kwargs)  # type: ignore[arg-type]
        made.facts.put(EXACT, NOTE)
        return made

    async def stored(self) -> Entry | None:
        await self.writer.start()
        await self.writer.close()
        data = await self.store.get(NOTE.id)
        return unpack(data) if data is not None else None


async def test_a_whole_answer_is_stored_as_it_was() -> None:
    """What is read back folds to the very answer that went by."""
    shelved = Shelved()
    events: list[Event] = [
        Started("c1", "m", 5, {"system_fingerprint": "fp"}),
        Reasoning("because"),
        Text("Hel", extra={"logprobs": [1]}),
        Text("lo"),
        Unknown({"annotations": [{"a": 1}]}),
        ChoiceFinished("stop"),
        Usage(input_tokens=3, raw={"prompt_tokens": 3}),
        Finished(),
    ]
    play(shelved.tap, shelved.noted(), events)
    entry = await shelved.stored()
    assert entry is not None
    assert entry.response == fold(events)
    assert entry.key == NOTE.key
    assert entry.created == shelved.clock.wall() / 1e9


def test_events_pass_untouched() -> None:
    """Every event goes on as the same object, so clean frames can be relayed byte for byte."""
    shelved = Shelved()
    events = said("hello")
    out = play(shelved.tap, shelved.noted(), events)
    assert len(out) == len(events)
    assert all(a is b for a, b in zip(out, events, strict=True))


HEAD = [Started("c1", "m", 5), Text("some text")]
NEVER: dict[str, Sequence[Event]] = {
    "cut": [*HEAD, ChoiceFinished("stop")],
    "truncated": [*HEAD, ChoiceFinished("length"), Finished()],
    "filtered": [*HEAD, ChoiceFinished("content_filter"), Finished()],
    "no finish reason": [*HEAD, Finished()],
    "tool call": [*HEAD, ToolCall(0, "{}", "id", "f"), ChoiceFinished("stop"), Finished()],
    "asks for tools": [*HEAD, ChoiceFinished("tool_calls"), Finished()],
    "failed": [*HEAD, ChoiceFinished("stop"), Failed(StreamCut("cut"))],
    "blocked": [*HEAD, ChoiceFinished("stop"), Blocked("phrases", "phrase"), Finished()],
    "no choices": [Started("c1", "m", 5), Finished()],
    "empty text": [Started("c1", "m", 5), Text(""), ChoiceFinished("stop"), Finished()],
    "one choice of two cut": [*HEAD, Text("b", 1), ChoiceFinished("stop"), Finished()],
    "too long": [Started("c1", "m", 5), Text("x" * (MAX_ANSWER + 1)), ChoiceFinished("stop"), Finished()],
}


@pytest.mark.parametrize("events", NEVER.values(), ids=NEVER.keys())
async def test_an_answer_that_is_not_whole_and_clean_is_never_stored(events: Sequence[Event]) -> None:
    """Incomplete, blocked, truncated, tool-calling, empty and oversized answers are not stored."""
    shelved = Shelved()
    play(shelved.tap, shelved.noted(), events)
    assert await shelved.stored() is None


async def test_a_client_that_leaves_leaves_nothing() -> None:
    """Without the stream's end nothing is stored, whatever went by before."""
    shelved = Shelved()
    play(shelved.tap, shelved.noted(), said("hello"), whole=False)
    assert await shelved.stored() is None


async def test_a_fallbacks_answer_is_not_the_aliass() -> None:
    """What another alias said in its place is not stored under the alias that was asked for."""
    shelved = Shelved()
    made = shelved.noted()
    made.served_model = "smart"
    play(shelved.tap, made, said("hello"))
    assert await shelved.stored() is None
    made.served_model = "fast"
    play(shelved.tap, made, said("hello"))
    assert await shelved.stored() is not None


async def test_an_answer_whose_check_did_not_run_is_not_stored() -> None:
    """A check that failed open lets one answer pass, not every later reader's."""
    shelved = Shelved()
    made = shelved.noted()
    made.verdicts.append(Verdict("toxicity", "not_scanned", "output", reason="timeout"))
    play(shelved.tap, made, said("hello"))
    assert await shelved.stored() is None


def test_it_costs_nothing_where_nothing_is_to_be_stored() -> None:
    """No note, or an answer from a decider: the tap does not even open."""
    shelved = Shelved()
    assert shelved.tap.open(exchange("hi")) is None
    answered = shelved.noted()
    answered.answer = Answer("cached")
    assert shelved.tap.open(answered) is None


async def test_the_ttl_is_jittered_by_a_tenth() -> None:
    """Entries of one minute do not expire in one minute: each lives 90 to 110 % of the TTL."""
    shelved = Shelved()
    lives = {shelved.tap._jittered(100.0) for _ in range(500)}
    assert 90 <= min(lives) < 92
    assert 108 < max(lives) <= 110


async def test_an_oversized_entry_fails_in_the_background() -> None:
    """Unknown fields that blow an entry up are refused by size, counted, and nobody's request fails."""
    shelved = Shelved()
    huge = [{"token": "x" * 1000}] * 5000
    play(shelved.tap, shelved.noted(), [*HEAD, Text("a", extra={"logprobs": huge}), *said("b")[3:]])
    assert await shelved.stored() is None
    assert shelved.writer.failed == 1


async def test_a_redacted_answer_serves_no_similar_question() -> None:
    """An answer from which an output check took something is kept for the same question only."""
    writer = Writer()
    clock = ManualClock()
    vectors = VectorMemory(clock, dim=64, max_entries=10, max_bytes=1 << 20)
    store = MemoryStore(clock, max_entries=10, max_bytes=1 << 20)
    tap = CacheTap(Shelf(store, 10.0, vectors, 10.0), writer)
    for redacted in (True, False):
        made = exchange("hi", clock=clock)
        made.facts.put(EXACT, NOTE)
        made.facts.put(SEMANTIC, SemanticNote("s-" + "1" * 32, "p", "hi", TrigramEmbed().one("hi")))
        if redacted:
            made.verdicts.append(Verdict("private", "mask", "output", count=1))
        play(tap, made, said("hello"))
        assert writer.stats()["queued"] == (1 if redacted else 3)


def test_bytes_that_are_no_entry_are_a_miss() -> None:
    """A store shared with another version gives no error, and no entry."""
    entry = Entry(key="k", response=fold(said("hello")), created=1.0)
    assert unpack(pack(entry)) == entry
    for data in (b"", b"\x00", pack(entry)[:-3], b"{}"):
        assert unpack(data) is None


async def test_an_entry_carries_its_tenant_and_the_tags_of_route_and_request() -> None:
    """Each tag once, the route's first; so a purge by either finds it."""
    clock = ManualClock()
    store, writer = MemoryStore(clock, max_entries=9, max_bytes=1 << 20), Writer()
    tap = CacheTap(Shelf(store, 100.0, None, 0.0, tags=("faq", "v1")), writer)
    made = exchange("hi", clock=clock, tenant="acme")
    made.tags = ("v1", "", "draft")
    made.facts.put(EXACT, NOTE)
    play(tap, made, said("hello"))
    await writer.start()
    await writer.close()
    assert store._entries[NOTE.id].labels == Labels("acme", ("faq", "v1", "draft"))


async def test_a_relayed_body_is_stored_unless_it_was_made_from_originals() -> None:
    """Vectors and ranks are kept as they came; not where private originals were sent, since nothing masks a body again."""
    events = [Started("", "m", 0), Relayed(b'{"data": []}'), Finished()]
    shelved = Shelved()
    play(shelved.tap, shelved.noted(), events)
    entry = await shelved.stored()
    assert entry is not None
    assert entry.response.relayed == b'{"data": []}'
    shelved = Shelved()
    revealed = shelved.noted()
    revealed.revealed = True
    play(shelved.tap, revealed, events)
    assert await shelved.stored() is None


async def test_entries_made_together_do_not_expire_together() -> None:
    """Each TTL is within a tenth of the configured one, and they differ."""
    clock = ManualClock()
    store, writer = MemoryStore(clock, max_entries=999, max_bytes=1 << 24), Writer()
    tap = CacheTap(Shelf(store, 100.0, None, 0.0), writer)
    for number in range(200):
        made = exchange("hi", clock=clock)
        made.facts.put(EXACT, ExactNote(f"e-{number:032x}", "key"))
        play(tap, made, said("hello"))
    await writer.start()
    await writer.close()
    lives = [(kept.expires - kept.stored) / 1e9 for kept in store._entries.values()]
    assert 90 <= min(lives) < 95 < 105 < max(lives) <= 110
