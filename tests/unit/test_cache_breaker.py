from __future__ import annotations

import asyncio

import pytest

from cache.breaker import guarded
from cache.stores import StoreDown
from gateway.core.breaker import Breaker
from gateway.core.clock import ManualClock


def opened(clock: ManualClock) -> Breaker:
    breaker = Breaker(clock, failures=3, cooldown=1.0, longest=5.0)
    for _ in range(3):
        assert breaker.admits()
        breaker.failed()
    return breaker


def test_it_opens_after_failures_in_a_row_only() -> None:
    """A success between failures starts the count again."""
    breaker = Breaker(ManualClock(), failures=3)
    for _ in range(5):
        breaker.failed()
        breaker.failed()
        breaker.succeeded()
    assert breaker.admits()


def test_while_open_one_call_tries_after_the_cooldown() -> None:
    """Open: nothing goes out until the cool-down has passed, and then one call at a time."""
    clock = ManualClock()
    breaker = opened(clock)
    assert not breaker.admits()
    clock.advance(1.01)
    assert breaker.admits()
    assert not breaker.admits()
    breaker.succeeded()
    assert breaker.admits()
    assert not breaker.open


def test_a_failed_trial_waits_longer_up_to_a_bound() -> None:
    """Each failed trial doubles the wait, to at most the longest."""
    clock = ManualClock()
    breaker = opened(clock)
    waits = []
    for _ in range(5):
        waited = 0.0
        while not breaker.admits():
            clock.advance(0.25)
            waited += 0.25
        waits.append(waited)
        breaker.failed()
    assert waits == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_a_cancelled_trial_says_nothing() -> None:
    """A client that leaves during the trial leaves the place to the next."""
    clock = ManualClock()
    breaker = opened(clock)
    clock.advance(2)
    assert breaker.admits()
    breaker.abandoned()
    assert breaker.admits()


async def test_guarded_turns_every_failure_into_a_store_that_is_down() -> None:
    """Slow, broken and refused are all a StoreDown with a reason that is safe to show."""
    breaker = Breaker(ManualClock(), failures=2)

    async def broken() -> None:
        raise ConnectionRefusedError("with an address in it")

    async def slow() -> None:
        await asyncio.sleep(60)

    reasons = []
    for call in (broken, slow, slow):
        with pytest.raises(StoreDown) as caught:
            await guarded(breaker, 0.01, call)
        reasons.append(caught.value.why)
    assert reasons == ["ConnectionRefusedError", "timeout", "breaker_open"]


async def test_a_cancelled_call_is_cancelled() -> None:
    """Cancellation is no failure, and goes through."""
    clock = ManualClock()
    breaker = opened(clock)
    clock.advance(2)
    task = asyncio.create_task(guarded(breaker, 60, lambda: asyncio.sleep(60)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert breaker.admits()
