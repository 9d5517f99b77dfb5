"""Side by side: a refusal wins, and leaves nothing behind of what ran beside it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.core.answer import Answer, Handoff, Refusal
from gateway.core.errors import CheckFailed
from gateway.core.events import ChoiceFinished, Finished, Started, Text
from gateway.core.exchange import Exchange
from gateway.core.plan import ModelPlan, Plan, Target
from gateway.core.response import said
from gateway.pipeline.beside import side_by_side
from tests.fixtures.guard_world import exchange_of
from tests.fixtures.spine_world import MemoryUpstream, Stage, Wire, World, turns

NO = Answer("refused", refusal=Refusal("check", "category", "no"))
YES = Answer("canned", said("Canned.", id="x", model="m", created=1))
WAIT = 10.0
GOOD = Wire([Started("c", "m", 1), Text("fine"), ChoiceFinished("stop"), Finished()])


class Guarding:
    """A stage that waits until it is let go."""

    name = "inspect"
    consumes: tuple[Any, ...] = ()
    produces: tuple[Any, ...] = ()

    def __init__(self, answer: Answer | Exception | None) -> None:
        self.answer = answer
        self.go = asyncio.Event()

    async def decide(self, exchange: Exchange) -> Answer | None:
        await self.go.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Routing:
    """Chooses a plan, an intent and a hand-over, lets the guard go, and comes back or not."""

    def __init__(self, guard: Guarding, *, waits: bool) -> None:
        self.guard, self.waits = guard, waits
        self.ended = ""

    async def decide(self, exchange: Exchange) -> Answer | None:
        exchange.plan = Plan(models=(ModelPlan(alias="m", targets=(Target(provider="up", model="m"),)),))
        exchange.intent, exchange.intent_score = "billing", 0.9
        self.guard.go.set()
        try:
            if self.waits:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.ended = "cancelled"
            raise
        self.ended = "decided"
        return Answer("handoff", YES.response, handoff=Handoff("billing-team", "intent:billing"))


@pytest.mark.parametrize("waits", [True, False])
@pytest.mark.parametrize("verdict", [NO, CheckFailed("It could not look.")])
async def test_a_refusal_wins_over_a_route_and_forgets_it(waits: bool, verdict: Answer | Exception) -> None:
    """The guard ends only once the route has begun, so they do run side by side; whatever the route was about to say or
    had said, nothing of it is left."""
    guard = Guarding(verdict)
    route = Routing(guard, waits=waits)
    exchange = exchange_of(("user", "hello"))
    before = asyncio.all_tasks()
    async with asyncio.timeout(WAIT):
        if isinstance(verdict, Answer):
            assert await side_by_side(exchange, guard.decide(exchange), lambda: route.decide(exchange)) is verdict
        else:
            with pytest.raises(CheckFailed):
                await side_by_side(exchange, guard.decide(exchange), lambda: route.decide(exchange))
    assert route.ended == ("cancelled" if waits else "decided")
    assert (exchange.plan, exchange.intent, exchange.intent_score, exchange.handoff) == (None, "", None, None)
    assert asyncio.all_tasks() == before


async def test_a_route_that_fails_does_not_win_over_a_refusal() -> None:
    """The route's fault is told only if the request may pass."""
    guard = Guarding(NO)

    async def fails() -> Answer | None:
        guard.go.set()
        raise RuntimeError("a bug")

    exchange = exchange_of(("user", "hello"))
    assert await side_by_side(exchange, guard.decide(exchange), fails) is NO
    guard = Guarding(None)
    with pytest.raises(RuntimeError):
        await side_by_side(exchange, guard.decide(exchange), fails)


async def test_a_guard_that_need_not_wait_makes_no_task() -> None:
    """Its route is decided after it, or not at all."""

    async def quick(answer: Answer | None) -> Answer | None:
        return answer

    exchange = exchange_of(("user", "hello"))
    seen: list[Any] = []

    async def route() -> Answer | None:
        seen.append(asyncio.current_task())
        return YES

    assert await side_by_side(exchange, quick(NO), route) is NO
    assert seen == []
    assert await side_by_side(exchange, quick(None), route) is YES
    assert seen == [asyncio.current_task()]


@pytest.mark.parametrize("moment", range(1, 6))
async def test_leaving_ends_both(moment: int) -> None:
    """A client that goes while the two are at work leaves no task behind."""
    guard = Guarding(None)
    route = Routing(Guarding(None), waits=True)
    exchange = exchange_of(("user", "hello"))
    before = asyncio.all_tasks()
    task = asyncio.create_task(side_by_side(exchange, guard.decide(exchange), lambda: route.decide(exchange)))
    if moment > 3:
        guard.go.set()
    await turns(moment)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() == before
    assert route.ended in ("", "cancelled")


# --- beside the call


def inspecting(verdict: Answer | Exception | None, go: asyncio.Event) -> Stage:
    """A stage whose verdict comes while the model is called, when `go` is set."""

    async def later() -> Answer | None:
        await go.wait()
        if isinstance(verdict, Exception):
            raise verdict
        return verdict

    def begins(exchange: Exchange) -> None:
        task = exchange.beside = asyncio.create_task(later())
        task.add_done_callback(lambda task: task.cancelled() or task.exception())
        exchange.cleanup.append(lambda: task.cancel() and None)

    return Stage("inspect", begins)


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_waits_for_the_check_beside_its_call(stream: bool) -> None:
    """The model is called at once; nothing is sent before the verdict; then all of it is."""
    go = asyncio.Event()
    up = MemoryUpstream("up", [GOOD])
    world = World([up], inspect=inspecting(None, go))
    exchange = world.exchange(stream=stream)
    task = asyncio.create_task(world.run(exchange))
    await turns(100)
    assert up.calls == 1
    assert exchange.ttft is None
    assert not task.done()
    go.set()
    async with asyncio.timeout(WAIT):
        receipt, client = await task
    assert (receipt.outcome, receipt.status) == ("ok", 200)
    assert b"fine" in client.body


@pytest.mark.parametrize("silent", [True, False])
async def test_a_hit_beside_the_call_is_a_clean_refusal_and_ends_the_call(silent: bool) -> None:
    """Also while the model has not said a word: the call is given up at once, and nothing was sent."""
    go = asyncio.Event()
    up = MemoryUpstream("up", [Wire(1_000_000) if silent else GOOD])
    world = World([up], inspect=inspecting(NO, go))
    exchange = world.exchange()
    before = asyncio.all_tasks()
    task = asyncio.create_task(world.run(exchange))
    await turns(100)
    assert (up.calls, up.open_replies) == (1, 1)
    go.set()
    async with asyncio.timeout(WAIT):
        receipt, client = await task
    await world.aftermath.drain()
    assert client.refused == [Refusal("check", "category", "no")]
    assert (receipt.outcome, receipt.status, len(receipt.attempts)) == ("refused", 400, 1)
    assert up.open_replies == 0
    assert asyncio.all_tasks() == before


async def test_a_check_that_fails_closed_beside_the_call_ends_it() -> None:
    """The fault is the check's, and the attempt is no failure of the upstream's."""
    go = asyncio.Event()
    go.set()
    up = MemoryUpstream("up", [Wire(1_000_000)])
    world = World([up], inspect=inspecting(CheckFailed("It could not look."), go), attempts=3)
    async with asyncio.timeout(WAIT):
        receipt, client = await world.run(world.exchange())
    assert (receipt.outcome, receipt.error, receipt.status) == ("gateway_error", "check_failed", 503)
    assert [fault.message for fault in client.faults] == ["It could not look."]
    assert up.open_replies == 0


async def test_an_answer_without_a_call_waits_for_the_verdict_too() -> None:
    """A cached or canned answer is no way round the check, and a refused one hands over to nobody."""
    go = asyncio.Event()
    canned = Answer("handoff", YES.response, handoff=Handoff("team", "intent:x"))
    world = World([MemoryUpstream("up", [GOOD])], inspect=inspecting(NO, go), answer=Stage("exact", lambda _: canned))
    exchange = world.exchange()
    task = asyncio.create_task(world.run(exchange))
    await turns(50)
    assert not task.done()
    go.set()
    receipt, client = await task
    assert client.refused == [Refusal("check", "category", "no")]
    assert (receipt.outcome, receipt.answer, receipt.handoff) == ("refused", "", "")
    assert b"Canned" not in client.body

    go.set()
    world = World([MemoryUpstream("up", [GOOD])], inspect=inspecting(None, go), answer=Stage("exact", lambda _: canned))
    receipt, client = await world.run(world.exchange(stream=False))
    assert (receipt.outcome, receipt.answer, receipt.handoff) == ("ok", "handoff", "team")
    assert b"Canned." in client.body
