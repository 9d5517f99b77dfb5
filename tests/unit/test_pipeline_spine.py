"""The order of the story: deciders, dispatch, the client told, one receipt."""

from __future__ import annotations

import asyncio
import json

import pytest

from gateway.core.answer import Answer, Refusal
from gateway.core.errors import CheckFailed
from gateway.core.events import ChoiceFinished, Finished, Started, Text
from gateway.core.exchange import Exchange
from gateway.core.facts import Key
from gateway.core.ports import Recorder
from gateway.core.receipt import Receipt
from gateway.core.response import said
from gateway.pipeline.aftermath import Aftermath
from gateway.pipeline.build import Common, RouteParts, build, flat
from tests.fixtures.receipts import receipt as a_receipt
from tests.fixtures.spine_world import Kept, Making, MemoryUpstream, Passing, Stage, Wire, World

GOOD = Wire([Started("c", "m", 1), Text("fine"), ChoiceFinished("stop"), Finished()])


def up(*wires: Wire) -> MemoryUpstream:
    return MemoryUpstream("up", wires or (GOOD,))


async def test_the_timeline_is_the_list_in_order() -> None:
    """Every stage that ran is there with its times, and none that did not."""
    receipt, client = await (world := World([up()], screen=Stage("screen"))).run(world.exchange())
    names = [stage.name for stage in receipt.timeline]
    assert names == ["admit", "receive", "select", "permit", "screen", "route"]
    assert all(a.end <= b.start for a, b in zip(receipt.timeline, receipt.timeline[1:], strict=False))
    assert (receipt.outcome, receipt.answer, receipt.status, client.watched) == ("ok", "generated", 200, True)


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_ends_the_deciders(stream: bool) -> None:
    """No later stage runs and no upstream is called; it goes through the checks like any other."""
    canned = Stage(
        "screen", lambda _: Answer("canned", said("Canned.", id="x", model="m", created=1), headers={"a": "b"})
    )
    loud = Making(lambda: Passing(lambda e: (Text(e.text.upper()),) if isinstance(e, Text) else (e,)))
    world = World([up()], screen=canned, checks=[loud])
    exchange = world.exchange(stream=stream)
    receipt, client = await world.run(exchange)
    assert [stage.outcome for stage in receipt.timeline][-1] == "canned"
    assert (receipt.outcome, receipt.answer, receipt.attempts, receipt.usage) == ("ok", "canned", (), None)
    assert b"CANNED." in client.body
    assert exchange.response_headers["a"] == "b"


async def test_a_refusal_is_an_answer() -> None:
    """The client is told cleanly; nothing is a fault."""
    refused = Stage("screen", lambda _: Answer("refused", refusal=Refusal("check", "category", "no")))
    world = World([up()], screen=refused)
    receipt, client = await world.run(world.exchange())
    assert (receipt.outcome, receipt.error, receipt.answer) == ("refused", "", "refused")
    assert client.refused == [Refusal("check", "category", "no")]
    assert client.faults == []


async def test_a_stages_fault_is_told_and_named() -> None:
    """In the timeline and in the receipt."""

    def fails(_: Exchange) -> None:
        raise CheckFailed("The check could not run.")

    world = World([up()], screen=Stage("screen", fails))
    receipt, client = await world.run(world.exchange())
    assert (receipt.outcome, receipt.error, receipt.status) == ("gateway_error", "check_failed", 503)
    assert receipt.timeline[-1].outcome == "check_failed"
    assert [fault.message for fault in client.faults] == ["The check could not run."]
    assert world.crashes == []


@pytest.mark.parametrize("bug", [RuntimeError("secret"), TimeoutError("secret"), RecursionError("secret")])
async def test_a_bug_is_logged_and_told_as_one_fixed_sentence(bug: Exception) -> None:
    """Also one that looks like the deadline: only the deadline is told as the deadline."""

    def breaks(_: Exchange) -> None:
        raise bug

    world = World([up()], screen=Stage("screen", breaks))
    receipt, client = await world.run(world.exchange())
    assert (receipt.outcome, receipt.error, receipt.status) == ("gateway_error", "internal", 500)
    assert b"secret" not in client.body
    assert world.crashes == [bug]


async def test_the_deadline_is_told_as_the_deadline() -> None:
    """And is no crash."""
    world = World([up(Wire(1_000_000))])
    receipt, _ = await world.run(world.exchange(timeout=0.05))
    assert (receipt.outcome, receipt.error, receipt.status) == ("gateway_error", "deadline_exceeded", 504)
    assert world.crashes == []


async def test_a_model_nobody_may_ask_for_is_no_label() -> None:
    """What a client wrote as the model is in the receipt only once it is known to be one of ours."""

    def forbids(_: Exchange) -> None:
        raise CheckFailed("No.")

    world = World([up()], screen=Stage("screen", forbids))
    exchange = world.exchange(body=b"[]")
    assert (await world.run(exchange))[0].model == ""
    assert (await world.run(world.exchange()))[0].model == "m"


async def test_many_at_once_are_counted() -> None:
    """`inflight` is how many are under way."""
    world = World([up(Wire(50, [Started("c", "m", 1), Text("fine"), ChoiceFinished("stop"), Finished()]))])
    tasks = [asyncio.create_task(world.run(world.exchange())) for _ in range(20)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert world.spine.inflight == 20
    await asyncio.gather(*tasks)
    assert world.spine.inflight == 0
    assert len(world.kept.all) == 20


# --- the one list


def lane_of(parts: RouteParts) -> list[str]:
    common = Common(admit=Stage("admit"), receive=Stage("receive"), select=Stage("select"), permit=Stage("permit"))
    pipeline = build(common, {"r": parts})
    lane = pipeline.lanes["r"]
    return [stage.name for stage in (*pipeline.head, *flat(lane.deciders), *lane.transforms)]


def test_the_order_is_the_lists() -> None:
    """All stages, in the order the design gives."""
    parts = RouteParts(
        restore=Making(lambda: None, "restore"),
        tap=Making(lambda: None, "tap"),
        checks=[Making(lambda: None, "one"), Making(lambda: None, "two")],
        semantic_cache=Stage("semantic"),
        exact_cache=Stage("exact"),
        route=Stage("route"),
        inspect=Stage("inspect"),
        mask=Stage("mask"),
        verdict=Making(lambda: None, "verdict"),
    )
    assert lane_of(parts) == [
        "admit", "receive", "select", "permit", "mask", "inspect", "route", "exact", "semantic", "verdict",
        "one", "two", "tap", "restore",
    ]  # fmt: skip
    assert lane_of(RouteParts(route=Stage("route"))) == ["admit", "receive", "select", "permit", "route"]


def test_a_note_that_nobody_leaves_is_refused_at_start() -> None:
    """The error names the route, the stage and the note; a stage after it does not count."""
    key: Key[int] = Key("vault")
    reads, writes = Making(lambda: None, "restore"), Stage("screen")
    reads.consumes, writes.produces = (key,), (key,)
    lane_of(RouteParts(mask=writes, route=Stage("route"), restore=reads))
    with pytest.raises(ValueError, match=r"'r'.*'restore'.*vault"):
        lane_of(RouteParts(route=Stage("route"), restore=reads))
    early = Stage("screen")
    early.consumes = (key,)
    late = Stage("exact")
    late.produces = (key,)
    with pytest.raises(ValueError, match="'screen'"):
        lane_of(RouteParts(mask=early, route=Stage("route"), exact_cache=late))


# --- after the last byte


class Slow(Kept):
    name = "slow"
    essential = False


class Broken(Kept):
    name = "broken"
    essential = False

    async def record(self, receipt: Receipt) -> None:
        raise RuntimeError("a bug")


async def test_a_broken_recorder_costs_the_others_nothing() -> None:
    """Its bug is reported by name."""
    crashes: list[str] = []
    before, after = Kept(), Kept()
    recorders: list[Recorder] = [before, Broken(), after]
    aftermath = Aftermath(recorders, crashed=lambda name, _error: crashes.append(name))
    for _ in range(3):
        aftermath.put(a_receipt())
    await aftermath.drain()
    assert (len(before.all), len(after.all), crashes) == (3, 3, ["broken"] * 3)


async def test_recorders_that_wait_hold_up_nobody() -> None:
    """What is kept in Redis waits for it, of all receipts at one time; logs, metrics and traces have theirs before. One
    that fails while it waits costs the others nothing."""
    gate, plain, kept = asyncio.Event(), Kept(), Kept()
    crashes: list[str] = []
    under_way = 0

    class Waits(Kept):
        name = "waits"

        async def record(self, receipt: Receipt) -> None:
            nonlocal under_way
            under_way += 1
            await gate.wait()
            if receipt.id == "1":
                raise ConnectionError
            await kept.record(receipt)

    aftermath = Aftermath([plain], waiting=[Waits()], crashed=lambda name, _error: crashes.append(name))
    for number in range(1000):
        aftermath.put(a_receipt(id=str(number)))
    draining = asyncio.create_task(aftermath.drain())
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(plain.all) == under_way > 100
    gate.set()
    await draining
    assert [receipt.id for receipt in plain.all] == [str(number) for number in range(1000)]
    assert (len(kept.all), crashes) == (999, ["waits"])


async def test_over_its_bound_only_the_essential_is_kept() -> None:
    """Spend is never lost; the rest is dropped, and counted by name."""
    kept, slow = Kept(), Slow()
    aftermath = Aftermath([kept, slow], bound=5)
    for _ in range(12):
        aftermath.put(a_receipt())
    assert len(aftermath) == 12
    await aftermath.drain()
    assert (len(kept.all), len(slow.all), aftermath.dropped) == (12, 5, {"slow": 7})


async def test_closing_records_what_is_queued() -> None:
    """Also what came after the worker was stopped."""
    kept = Kept()
    aftermath = Aftermath([kept])
    await aftermath.start()
    aftermath.put(a_receipt(id="1"))
    await aftermath.close()
    aftermath.put(a_receipt(id="2"))
    await aftermath.close()
    assert [receipt.id for receipt in kept.all] == ["1", "2"]


async def test_closing_does_not_wait_for_ever() -> None:
    """A recorder that hangs holds the process up for the limit and no longer."""

    class Hangs(Kept):
        async def record(self, receipt: Receipt) -> None:
            await asyncio.Event().wait()

    crashes: list[str] = []
    aftermath = Aftermath([Hangs()], crashed=lambda name, _error: crashes.append(name))
    await aftermath.start()
    aftermath.put(a_receipt())
    async with asyncio.timeout(5):
        await aftermath.close(limit=0.05)
    assert crashes == ["aftermath"]


async def test_a_cancelled_worker_loses_no_receipt() -> None:
    """The one being recorded when the process stops is recorded before closing ends, and so are those behind it."""
    gate, kept = asyncio.Event(), Kept()

    class Gated(Kept):
        async def record(self, receipt: Receipt) -> None:
            await gate.wait()
            await kept.record(receipt)

    aftermath = Aftermath([Gated()])
    await aftermath.start()
    for number in range(3):
        aftermath.put(a_receipt(id=str(number)))
    async with asyncio.timeout(5):
        while len(aftermath) == 3:  # noqa: ASYNC110 - until the worker is at the first
            await asyncio.sleep(0.005)
        closing = asyncio.create_task(aftermath.close())
        for _ in range(5):
            await asyncio.sleep(0)
        assert not closing.done()
        gate.set()
        await closing
    assert sorted(receipt.id for receipt in kept.all) == ["0", "1", "2"]


def test_worlds_bodies_are_json() -> None:
    """The fixture's own request is one that every dialect takes."""
    assert json.loads(asyncio.run(World([]).exchange().read_body()))["model"] == "m"
