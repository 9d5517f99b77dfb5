"""Flights under any order of coming, leaving, failing and answering."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

import cache.singleflight as singleflight
from cache.singleflight import Flights
from gateway.core.exchange import Exchange
from tests.fixtures.cache_world import exchange
from tests.fixtures.dialects import LAW

STEPS = st.lists(
    st.tuples(st.sampled_from(["come", "leave", "answer", "refuse", "store"]), st.integers(0, 3), st.integers(0, 7)),
    max_size=40,
)


def ended(one: Exchange) -> None:
    for undo in one.cleanup:
        undo()


@LAW
@given(STEPS)
def test_everybody_is_told_and_nothing_is_left(steps: list[tuple[str, int, int]]) -> None:
    """At any moment a key has one leader at most; when all have ended, everybody was told something and every count is
    zero."""
    asyncio.run(_played(steps))


async def _played(steps: list[tuple[str, int, int]]) -> None:
    flights = Flights()
    here: dict[str, list[tuple[Exchange, Any]]] = {f"k{at}": [] for at in range(4)}
    for what, at, which in steps:
        key = f"k{at}"
        group = here[key]
        leading = [one for one, _ in group if flights.leads(key, one)]
        assert len(leading) <= 1
        if what == "come":
            one = exchange("hi")
            group.append((one, flights.join(key, one)))
        elif what == "leave" and group:
            ended(group.pop(which % len(group))[0])
        elif what == "answer" and leading:
            flights.landed(key, key.encode())
        elif what == "refuse" and leading:
            flights.unshared(key, leading[0])
        elif what == "store":
            flights.stored(key, _held(flights, key))
        waiting = sum(isinstance(j, asyncio.Future) and not j.done() for group in here.values() for _, j in group)
        assert flights.stats()["followers"] == waiting
    for key, group in here.items():
        while group:  # a follower that is told to lead ends later than the one it follows
            one, joined = group.pop(0)
            ended(one)
            assert not group or any(flights.leads(key, other) for other, _ in group) or not _unsettled(group)
            assert joined is None or joined == key.encode() or isinstance(joined, asyncio.Future)
        flights.stored(key, _held(flights, key))
    assert (flights.stats()["flights"], flights.stats()["followers"]) == (0, 0)


def _held(flights: Flights, key: str) -> bytes:
    """What the store would report: the very bytes of the flight."""
    flight = flights._by_key.get(key)
    return flight.data if flight is not None and flight.data is not None else b""


def _unsettled(group: list[tuple[Exchange, Any]]) -> bool:
    return any(isinstance(joined, asyncio.Future) and not joined.done() for _, joined in group)


async def test_the_bounds_hold(monkeypatch: Any) -> None:
    """Beyond the bounds a request goes on by itself, at once, and is not counted."""
    monkeypatch.setattr(singleflight, "MOST_FLIGHTS", 2)
    monkeypatch.setattr(singleflight, "MOST_FOLLOWERS", 1)
    flights = Flights()
    people = [exchange("hi") for _ in range(5)]
    assert flights.join("a", people[0]) is None
    assert flights.join("b", people[1]) is None
    assert flights.join("c", people[2]) is None
    assert isinstance(flights.join("a", people[3]), asyncio.Future)
    assert flights.join("a", people[4]) is None
    assert flights.stats() == {"flights": 2, "followers": 1, "coalesced": 0, "handovers": 0}
    for one in reversed(people):
        ended(one)
    assert flights.stats() == {"flights": 0, "followers": 0, "coalesced": 0, "handovers": 0}
