"""Which target is tried next, how often, after what wait, and when no other may be tried."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.clock import ManualClock
from gateway.core.errors import (
    ContextOverflow,
    GatewayFault,
    Internal,
    StreamCut,
    Unavailable,
    UpstreamFailed,
    UpstreamLimited,
    UpstreamRefusedUs,
    UpstreamRejected,
    UpstreamTimeout,
)
from gateway.core.events import Blocked, ChoiceFinished, Finished, Remedy, Started, Text
from gateway.core.exchange import Exchange
from gateway.core.plan import ModelPlan, Plan, Target
from gateway.pipeline.delivery import Delivery
from gateway.pipeline.dispatch import Dispatcher
from tests.fixtures.spine_world import DIALECTS, Making, MemoryClient, MemoryUpstream, Passing, Wire, World

GOOD = Wire([Started("c", "m", 1), Text("fine"), ChoiceFinished("stop"), Finished()])


def bad(kind: type[GatewayFault] = UpstreamFailed, retry_after: float | None = None) -> Wire:
    return Wire(refuse=kind("It failed.", retry_after=retry_after))


def model(name: str, *targets: str, attempts: int = 1, weights: Sequence[int] = ()) -> ModelPlan:
    names = targets or (name,)
    weighed = [*weights, *[1] * len(names)]
    return ModelPlan(
        alias=name,
        targets=tuple(
            Target(provider=provider, model="m", weight=weight)
            for provider, weight in zip(names, weighed, strict=False)
        ),
        attempts=attempts,
    )


class Call:
    """One run of a dispatcher. `waits`: the seconds it slept."""

    def __init__(self, plan: Plan, wires: dict[str, list[Wire]], *checks: Making, **headers: str) -> None:
        self.upstreams = {name: MemoryUpstream(name, given) for name, given in wires.items()}
        self.exchange: Exchange = World([]).exchange(headers=headers)
        self.exchange.plan = plan
        self.client = MemoryClient(self.exchange)
        self.waits: list[float] = []
        self._checks = checks

    async def run(self, rng: random.Random | None = None) -> Call:
        exchange = self.exchange
        exchange.request = DIALECTS["openai"].read("chat", json.loads(await exchange.read_body()))

        async def sleep(seconds: float) -> None:
            self.waits.append(seconds)
            if isinstance(exchange.clock, ManualClock):
                exchange.clock.advance(seconds)

        dispatcher = Dispatcher(self.upstreams, rng=rng or random.Random(1), sleep=sleep)  # type: ignore[arg-type]
        self.delivery = Delivery(exchange, self.client, self._checks, DIALECTS["openai"].outlet, lambda _u, _t: None)
        await dispatcher.run(exchange, self.delivery)
        return self

    @property
    def story(self) -> list[tuple[str, str, str]]:
        return [(attempt.provider, attempt.why, attempt.outcome) for attempt in self.exchange.attempts]


def chain(*names: str, attempts: int = 1, overflow: Sequence[str] = ()) -> Plan:
    models = tuple(model(name, attempts=attempts) for name in names)
    return Plan(models=models, overflow=tuple(model(name) for name in overflow))


async def test_retries_come_before_fallbacks() -> None:
    """Each model gets its tries, in the order of the chain, and each try is in the exchange."""
    call = await Call(chain("a", "b", attempts=2), {"a": [bad()], "b": [bad(UpstreamTimeout), GOOD]}).run()
    assert call.story == [
        ("a", "first", "upstream_failed"),
        ("a", "retry", "upstream_failed"),
        ("b", "fallback", "upstream_timeout"),
        ("b", "retry", "ok"),
    ]
    assert call.exchange.served_model == "b"
    assert call.exchange.calling is None


async def test_the_wait_before_a_retry_is_no_time_of_ours() -> None:
    """It is the upstream's, as the time until it answers is."""
    call = Call(chain("a", attempts=2), {"a": [bad(), GOOD]})
    call.exchange.clock = ManualClock()
    await call.run()
    assert len(call.waits) == 1
    assert call.exchange.waited == call.exchange.clock.now() == int(call.waits[0] * 1e9) > 0


@pytest.mark.parametrize("kind", [UpstreamFailed, UpstreamTimeout, UpstreamLimited, UpstreamRefusedUs, StreamCut])
async def test_a_fault_of_the_upstream_allows_another(kind: type[GatewayFault]) -> None:
    """The table of faults says so."""
    assert (await Call(chain("a", "b"), {"a": [bad(kind)], "b": [GOOD]}).run()).story[-1] == ("b", "fallback", "ok")


@pytest.mark.parametrize("kind", [UpstreamRejected, Internal])
async def test_a_fault_of_the_request_allows_none(kind: type[GatewayFault]) -> None:
    """Another target would say the same."""
    call = Call(chain("a", "b", attempts=3), {"a": [bad(kind)], "b": [GOOD]})
    with pytest.raises(kind):
        await call.run()
    assert call.upstreams["b"].calls == 0
    assert len(call.story) == 1


async def test_too_long_a_prompt_goes_to_larger_models_only() -> None:
    """Not to the fallbacks, and not twice."""
    call = await Call(
        chain("a", "b", overflow=["big"]), {"a": [bad(ContextOverflow)], "b": [GOOD], "big": [GOOD]}
    ).run()
    assert call.story == [("a", "first", "context_overflow"), ("big", "overflow", "ok")]
    for over in ([], ["big"]):
        wires = {name: [bad(ContextOverflow)] for name in ("a", "b", "big")}
        call = Call(chain("a", "b", overflow=over), wires)
        with pytest.raises(ContextOverflow):
            await call.run()
        assert call.upstreams["b"].calls == 0
        assert call.upstreams["big"].calls == len(over)


async def test_after_all_the_last_fault_is_raised() -> None:
    """It is the freshest news."""
    with pytest.raises(UpstreamLimited):
        await Call(chain("a", "b"), {"a": [bad()], "b": [bad(UpstreamLimited)]}).run()


async def test_an_empty_chain_is_unavailable() -> None:
    """No target, no answer; and no bug."""
    with pytest.raises(Unavailable):
        await Call(Plan(models=()), {}).run()


async def test_all_targets_of_a_model_are_tried_before_one_is_tried_again() -> None:
    """Without a wait between different ones: another target need not be waited for."""
    plan = Plan(models=(model("m", "a", "b", "c", attempts=4),))
    call = Call(plan, {name: [bad()] for name in "abc"})
    with pytest.raises(UpstreamFailed):
        await call.run()
    order = [provider for provider, _, _ in call.story]
    assert sorted(order[:3]) == ["a", "b", "c"]
    assert order[3] == order[0]
    assert call.waits == []


async def test_weights_say_who_is_first() -> None:
    """9 to 1, within what a thousand throws may stray."""
    plan = Plan(models=(model("m", "a", "b", weights=[9, 1]),))
    rng = random.Random(7)
    first = Counter()
    for _ in range(1000):
        first[(await Call(plan, {"a": [GOOD], "b": [GOOD]}).run(rng)).story[0][0]] += 1
    assert 860 <= first["a"] <= 940


@pytest.mark.parametrize(("count", "tries"), [("0", 3), ("1", 1), ("2", 1), ("", 1), ("x", 1)])
async def test_a_clients_own_retry_gets_one_try_a_target(count: str, tries: int) -> None:
    """SDKs retry too; ours on top would multiply."""
    call = Call(chain("a", attempts=3), {"a": [bad()]}, **{"x-stainless-retry-count": count})
    with pytest.raises(UpstreamFailed):
        await call.run()
    assert len(call.story) == tries


async def test_an_upstreams_wish_is_waited_for_within_limits() -> None:
    """Its Retry-After is kept; one over `max_wait`, or beyond the deadline, ends the tries at this model."""
    call = await Call(chain("a", attempts=2), {"a": [bad(UpstreamLimited, 7.0), GOOD]}).run()
    assert call.waits == [7.0]
    for wish in (10.5, 1e9):
        call = await Call(chain("a", "b", attempts=2), {"a": [bad(UpstreamLimited, wish)], "b": [GOOD]}).run()
        assert (call.waits, len(call.story)) == ([], 2)
    hurried = Call(chain("a", "b", attempts=2), {"a": [bad(UpstreamLimited, 5.0)], "b": [GOOD]})
    hurried.exchange.deadline = hurried.exchange.started + 4_000_000_000
    assert ((await hurried.run()).waits, len(hurried.story)) == ([], 2)


@given(st.integers(0, 10_000))
async def test_waits_double_with_jitter(seed: int) -> None:
    """Up to a quarter of a second, then up to a half, then up to one."""
    call = Call(chain("a", attempts=4), {"a": [bad()]})
    with pytest.raises(UpstreamFailed):
        await call.run(random.Random(seed))
    assert len(call.waits) == 3
    assert all(0 <= wait <= most for wait, most in zip(call.waits, (0.25, 0.5, 1.0), strict=True))


def blocking(retry: int, times: int) -> Making:
    """Blocks the first `times` answers, asking for `retry` more tries."""
    left = [times]

    def make() -> Passing:
        left[0] -= 1
        blocks = left[0] >= 0
        blocked = Blocked("json", "invalid", "no", (Remedy("retry", retry),))
        return Passing(lambda e: (blocked,) if blocks and isinstance(e, Text) else (e,))

    return Making(make)


async def test_a_check_may_ask_for_another_answer() -> None:
    """Before anything was released, and as often as it says; then its block stands."""
    call = await Call(chain("a"), {"a": [GOOD]}, blocking(2, 1)).run()
    assert call.story == [("a", "first", "blocked"), ("a", "guardrail", "ok")]
    assert (call.delivery.blocked, call.delivery.done) == (None, True)
    call = await Call(chain("a", "b"), {"a": [GOOD], "b": [GOOD]}, blocking(2, 99)).run()
    assert [why for _, why, _ in call.story] == ["first", "guardrail", "guardrail"]
    assert call.delivery.blocked is not None
    assert call.upstreams["b"].calls == 0


async def test_after_the_commit_point_there_is_no_other_try() -> None:
    """Neither for a fault nor for a block that asks for one."""
    cut = Wire([Started("c", "m", 1), Text("Hel")], UpstreamFailed("It broke."))
    call = Call(chain("a", "b", attempts=3), {"a": [cut], "b": [GOOD]})
    with pytest.raises(UpstreamFailed):
        await call.run()
    assert (len(call.story), call.client.committed) == (1, True)
    later = Making(
        lambda: Passing(
            lambda e: (Blocked("c", "x", "", (Remedy("retry", 5),)),) if isinstance(e, ChoiceFinished) else (e,)
        )
    )
    call = await Call(chain("a", "b"), {"a": [GOOD], "b": [GOOD]}, later).run()
    assert len(call.story) == 1
    assert call.delivery.blocked is not None


async def test_a_bug_is_told_as_ours_and_leaves_its_entry() -> None:
    """The attempt says `internal`, the reply is closed, and the bug is the cause."""
    call = Call(chain("a", "b"), {"a": [Wire([Started("c", "m", 1)], KeyError("secret"))], "b": [GOOD]})
    with pytest.raises(Internal) as caught:
        await call.run()
    assert isinstance(caught.value.__cause__, KeyError)
    assert "secret" not in caught.value.message
    assert call.story == [("a", "first", "internal")]
    assert call.upstreams["a"].open_replies == 0
