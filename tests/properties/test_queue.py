"""A model's places and the queue before them, under every order of coming, leaving and giving up."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.clock import ManualClock
from gateway.core.errors import Overloaded
from gateway.core.exchange import Exchange, Principal
from gateway.core.plan import ModelPlan, Queue
from gateway.pipeline.fairness import ANSWER_WEIGHT, MOST_TENANTS, Turns, Waiter
from gateway.pipeline.places import Gate, Place
from tests.fixtures.dialects import chat
from tests.fixtures.spine_world import World, turns

WORLD = World([], clock=ManualClock())


def asking(tenant: str = "a", priority: int = 1, text: str = "hi") -> Exchange:
    made = WORLD.exchange()
    made.principal = Principal(key_id=tenant, tenant=tenant)
    made.priority = priority
    made.request = chat(messages=[{"role": "user", "content": text}])
    return made


def gate(places: int = 1, most: int = 3, ttl: float = 60.0) -> Gate:
    plan = ModelPlan(alias="m", targets=(), concurrency=places, queue=Queue(most=most, ttl=ttl))
    return Gate(plan, ManualClock())


class Visit:
    """One request's time at the gate: waits, stays until told to leave, or is cancelled."""

    def __init__(self, gate: Gate, exchange: Exchange) -> None:
        self.exchange = exchange
        self.inside = False
        self.refused = ""
        self.retry_after: float | None = None
        self.go = asyncio.Event()
        self.task = asyncio.create_task(self._visit(gate))

    async def _visit(self, gate: Gate) -> None:
        try:
            place: Place = await gate.enter(self.exchange)
        except Overloaded as full:
            self.refused, self.retry_after = full.why, full.retry_after
            return
        try:
            self.inside = True
            await self.go.wait()
        finally:
            self.inside = False
            place.leave()


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("come"), st.sampled_from("abc"), st.integers(0, 2)),
        st.tuples(st.just("leave"), st.integers(0, 9)),
        st.tuples(st.just("cancel"), st.integers(0, 9)),
        st.tuples(st.just("both"), st.integers(0, 9), st.integers(0, 9)),
    ),
    max_size=40,
)


@settings(max_examples=200, deadline=None)
@given(steps=STEPS, places=st.integers(1, 3), most=st.integers(0, 4), settled=st.booleans())
def test_no_place_is_lost_and_none_is_made_up(
    steps: list[tuple[Any, ...]], places: int, most: int, settled: bool
) -> None:
    """Never more inside than there are places, never more waiting than the bound; a place is free only when nobody waits;
    and when all have gone, nothing is counted any more."""

    async def main() -> None:
        door = gate(places, most)
        visits: list[Visit] = []
        for step in steps:
            match step:
                case ("come", tenant, priority):
                    visits.append(Visit(door, asking(tenant, priority)))
                case ("leave", at) if at < len(visits):
                    visits[at].go.set()
                case ("cancel", at) if at < len(visits):
                    visits[at].task.cancel()
                case ("both", one, other) if max(one, other) < len(visits):  # in the same turn
                    visits[one].go.set()
                    visits[other].task.cancel()
            if settled:
                await turns(3)
                inside = sum(visit.inside for visit in visits)
                waiting = sum(not visit.task.done() and not visit.inside for visit in visits)
                assert (door.running, door.waiting) == (inside, waiting)
                assert inside <= places
                assert waiting <= most
                assert inside == places or not waiting
        for visit in visits:
            visit.go.set()
        await asyncio.gather(*(visit.task for visit in visits), return_exceptions=True)
        assert (door.running, door.waiting) == (0, 0)
        assert all((visit.retry_after or 0) >= 1 for visit in visits if visit.refused)
        assert sum(door.refused.values()) == sum(bool(visit.refused) for visit in visits)
        await asyncio.wait_for(door.enter(asking()), 1)

    asyncio.run(main())


def test_the_higher_priority_goes_first_and_the_lowest_makes_room() -> None:
    """Of three that wait the highest is next; one that comes to a full queue takes the place of a lower one, never of its
    own or a higher."""

    async def main() -> None:
        door = gate(places=1, most=2)
        first = Visit(door, asking())
        await turns(1)
        low, normal = Visit(door, asking(priority=0)), Visit(door, asking(priority=1))
        await turns(1)
        high, also_normal = Visit(door, asking(priority=2)), Visit(door, asking(priority=1))
        await turns(3)
        assert (low.refused, also_normal.refused) == ("shed", "full")
        first.go.set()
        await turns(3)
        assert (high.inside, normal.inside) == (True, False)
        high.go.set()
        await turns(3)
        assert normal.inside
        normal.go.set()
        await asyncio.gather(*(visit.task for visit in (first, low, normal, high, also_normal)))

    asyncio.run(main())


def test_waiting_has_an_end() -> None:
    """After the queue's own time it is over, and whoever waited has left it."""

    async def main() -> None:
        door = gate(ttl=0.01)
        first = Visit(door, asking())
        second = Visit(door, asking())
        await second.task
        assert (second.refused, door.waiting, door.running) == ("late", 0, 1)
        assert [stage.outcome for stage in second.exchange.timeline] == ["late"]
        first.go.set()
        await first.task

    asyncio.run(main())


@settings(max_examples=100, deadline=None)
@given(
    sizes=st.fixed_dictionaries({name: st.integers(1, 400) for name in "abc"}),
    answers=st.fixed_dictionaries({name: st.integers(0, 200) for name in "abc"}),
)
def test_tenants_that_wait_are_served_alike(sizes: dict[str, int], answers: dict[str, int]) -> None:
    """However large its requests are, and however many it has sent: what two that both wait were served differs by no more
    than two of the largest requests."""

    async def main() -> None:
        line = Turns()
        for name, size in sizes.items():
            for _ in range(60):
                line.put(Waiter(name, 1, float(size)))
        served = Counter(dict.fromkeys(sizes, 0.0))
        largest = max(sizes[name] + ANSWER_WEIGHT * answers[name] for name in sizes)
        for _ in range(60):
            waiter = line.next()
            line.charge(waiter.tenant, waiter.tokens + ANSWER_WEIGHT * answers[waiter.tenant])
            served[waiter.tenant] += waiter.tokens + ANSWER_WEIGHT * answers[waiter.tenant]
            assert max(served.values()) - min(served.values()) <= 2 * largest

    asyncio.run(main())


def test_nobody_saves_up_by_staying_away() -> None:
    """A tenant that comes late begins where the others are, and does not hold the queue until it has caught up."""

    async def main() -> None:
        line = Turns()
        for _ in range(100):
            line.put(Waiter("busy", 1, 10.0))
        for _ in range(50):
            line.charge(line.next().tenant, 10.0)
        for _ in range(10):
            line.put(Waiter("late", 1, 10.0))
        order = []
        for _ in range(10):
            order.append(line.next().tenant)
            line.charge(order[-1], 10.0)
        assert 4 <= order.count("late") <= 6

    asyncio.run(main())


def test_counters_are_bounded() -> None:
    """However many tenants there are."""
    line = Turns()
    for at in range(3 * MOST_TENANTS):
        line.charge(f"t{at}", 1.0)
    assert len(line._served) == MOST_TENANTS
