"""Masking per trust as a law: whatever is tried in whatever order, an outsider's request never holds an original."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Sequence
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from gateway.core.errors import GatewayFault, UpstreamFailed
from gateway.core.events import Blocked, ChoiceFinished, Finished, Remedy, Started, Text
from gateway.core.plan import ModelPlan, Plan, Target
from gateway.core.request import Request
from gateway.pipeline.delivery import Delivery
from gateway.pipeline.dispatch import Dispatcher
from guardrails.build import build
from guardrails.config import GuardrailConfig
from tests.fixtures.guard_world import screened
from tests.fixtures.spine_world import DIALECTS, Making, MemoryClient, MemoryReply, MemoryUpstream, Passing, Wire, World

BOB, ANN = "bob@example.com", "ann@example.org"
CONFIG = {
    "mail": GuardrailConfig(use="pii", on=["input"], action="mask", internal="original", on_error="closed", entities=["EMAIL_ADDRESS"]),
    "hidden": GuardrailConfig(use="pii", on=["input"], action="mask", on_error="closed", entities=["CREDIT_CARD"]),
}  # fmt: skip
GUARDS = build(CONFIG, list(CONFIG))
CARD = "4111 1111 1111 1111"
ASKED = f"{BOB} to {ANN}, {CARD}"


class Hearing(MemoryUpstream):
    """Remembers what it was sent, and says it again, or fails, or does so later."""

    def __init__(self, name: str, trusted: bool, fates: Sequence[str]) -> None:
        super().__init__(name, [Wire()])
        self.trusted = trusted
        self._fates = list(fates)
        self.heard: list[str] = []

    async def open(self, request: Request, target: Target, timeouts: Any, **more: Any) -> MemoryReply:
        fate = self._fates[min(self.calls, len(self._fates) - 1)]
        said = request.slots[-1].text
        self.heard.append(json.dumps(request.body))
        texts = [Text(said[at : at + 5]) for at in range(0, len(said), 5)]
        steps = [[Started("c", "m", 1)], *[[text] for text in texts], [ChoiceFinished("stop")], [Finished()]]
        self._wires = [
            Wire(*steps[:3], UpstreamFailed("It broke."))
            if fate == "cut"
            else Wire(
                *steps, delay=20 if fate == "slow" else 1, refuse=UpstreamFailed("No.") if fate == "fail" else None
            )
        ]
        return await super().open(request, target, timeouts, **more)


FATES = st.lists(st.sampled_from(["ok", "fail", "slow", "cut"]), min_size=1, max_size=4)
UPSTREAMS = st.lists(st.tuples(st.booleans(), FATES), min_size=1, max_size=4)


@example([(False, ["slow"]), (True, ["ok"])], 2, 1, 0.0, 0, [], False)
@example([(True, ["slow"]), (False, ["ok"])], 2, 1, 0.0, 0, [], False)
@example([(False, ["ok", "slow"]), (True, ["ok"])], 2, 1, None, 1, [Remedy("hedge", 1)], True)
@example([(True, ["ok"]), (False, ["ok"]), (True, ["ok"])], 1, 1, None, 2, [Remedy("fallback")], True)
@given(
    upstreams=UPSTREAMS,
    split=st.integers(1, 4),
    attempts=st.integers(1, 4),
    hedge=st.sampled_from([None, 0.0, 0.001]),
    stops=st.integers(0, 3),
    remedies=st.lists(
        st.sampled_from([Remedy("retry", 2), Remedy("hedge", 1), Remedy("fallback")]), max_size=3, unique=True
    ),
    stream=st.booleans(),
)
async def test_no_order_of_calls_lets_an_original_out(
    upstreams: list[tuple[bool, list[str]]], split: int, attempts: int, hedge: float | None, stops: int,
    remedies: list[Remedy], stream: bool,
) -> None:  # fmt: skip
    """Retries, hedges, fallbacks, and what checks ask for. Who may see originals gets them each time; what one check
    hides from all is hidden from all; nothing between the upstreams and the client sees any; the client gets its own."""
    known = {f"u{at}": Hearing(f"u{at}", *given) for at, given in enumerate(upstreams)}
    targets = [Target(provider=name, model="m", weight=int(at in (0, split))) for at, name in enumerate(known)]
    parts = [targets[:split], targets[split:]]
    plan = Plan(
        models=tuple(
            ModelPlan(alias=f"m{at}", targets=tuple(part), attempts=attempts, hedge_after=hedge)
            for at, part in enumerate(parts)
            if part
        )
    )
    exchange = World([]).exchange(stream=stream)
    exchange.plan = plan
    body = {"model": "m", "stream": stream, "messages": [{"role": "user", "content": ASKED}]}
    exchange.request = DIALECTS["openai"].read("chat", body)
    assert await screened(GUARDS, exchange) is None
    answers: list[list[str]] = []
    """What a check is given to see, one attempt after the other."""
    left = [stops]

    def spy() -> Passing:
        left[0] -= 1
        blocked = Blocked("check", "x", "", tuple(remedies)) if left[0] >= 0 else None

        seen: list[str] = []
        answers.append(seen)

        def push(event: Any) -> Sequence[Any]:
            seen.append(event.text if isinstance(event, Text) else repr(event))
            return (blocked,) if blocked and isinstance(event, Text) else (event,)

        return Passing(push)

    client = MemoryClient(exchange)
    assert GUARDS.restore is not None
    checks = [*GUARDS.checks, Making(spy), GUARDS.restore]
    delivery = Delivery(exchange, client, checks, DIALECTS["openai"].outlet, lambda _usage, _target: None)
    dispatcher = Dispatcher(known, sleep=lambda _seconds: asyncio.sleep(0))  # type: ignore[arg-type]
    with contextlib.suppress(GatewayFault):
        await dispatcher.run(exchange, delivery)
    for upstream in known.values():
        assert upstream.open_replies == 0
        for heard in upstream.heard:
            assert (BOB in heard and ANN in heard) == upstream.trusted
            assert CARD not in heard
    assert all(attempt.revealed == known[attempt.provider].trusted for attempt in exchange.attempts)
    for seen in map("".join, answers):
        assert BOB not in seen
        assert ANN not in seen
        assert CARD not in seen
    if delivery.done and not stream:
        assert json.loads(client.body)["choices"][0]["message"]["content"] == ASKED
    assert ASKED not in json.dumps(exchange.asked().body)
