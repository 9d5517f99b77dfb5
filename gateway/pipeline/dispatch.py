"""Calls upstreams until one answers: retries, hedges, then fallbacks, all under one deadline.

Which fault allows another try is data (`errors.Wire.next_target`); how often and how long to wait comes with the
plan. The SDKs retry as well, so a request that already is a retry gets no second try of ours on the same targets.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence

from gateway.core.errors import ContextOverflow, GatewayFault, Internal, Unavailable
from gateway.core.events import Blocked
from gateway.core.exchange import Exchange
from gateway.core.plan import ModelPlan, Target
from gateway.core.ports import Upstream
from gateway.pipeline.delivery import Delivery
from gateway.pipeline.hedge import Allowance, race
from gateway.pipeline.trial import Trial

_BACKOFF = 0.25
"""Seconds before the first retry of the same target; doubles, with full jitter."""


class Dispatcher:
    """Runs plans. Holds no state of an exchange; counters of calls live in the upstreams."""

    def __init__(
        self,
        upstreams: Mapping[str, Upstream],
        *,
        rng: random.Random | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._upstreams = upstreams
        self._rng = rng or random.Random()  # noqa: S311 - spreads load and jitter, guards nothing
        self._sleep = sleep
        self._allowances: dict[str, Allowance] = {}
        """By alias, so as many as are configured."""

    async def run(self, exchange: Exchange, delivery: Delivery) -> None:
        """Delivers an answer, or raises the fault of the last try. A `Blocked` answer ends in `delivery.blocked`."""
        plan = exchange.plan
        assert plan is not None, "the planner runs before dispatch"
        models: Sequence[ModelPlan] = plan.models
        overflowed = False
        fault: GatewayFault | None = None
        at = 0
        while at < len(models):
            why = "first" if not exchange.attempts else ("overflow" if overflowed else "fallback")
            failed = await self._try_model(exchange, models[at], why, delivery)
            if failed is None:
                return
            fault = failed
            if delivery.committed:
                raise fault
            if isinstance(fault, ContextOverflow):
                if overflowed or not plan.overflow:
                    raise fault
                models, at, overflowed = plan.overflow, 0, True
                continue
            if not fault.wire.next_target:
                raise fault
            at += 1
        raise fault or Unavailable("No upstream is configured for this model.")

    async def _try_model(
        self, exchange: Exchange, model: ModelPlan, why: str, delivery: Delivery
    ) -> GatewayFault | None:
        """Up to `attempts` tries over one model's targets, then as many as a rejecting check still allows."""
        targets = self._order(model.targets)
        budget = model.attempts
        if exchange.headers.get("x-stainless-retry-count", "0") != "0":
            budget = min(budget, len(targets))
        tries = 0
        guard_tries = 0
        fault: GatewayFault | None = None
        while tries < max(1, budget):
            before = len(exchange.attempts)
            turn = tries % len(targets)
            fault = await self._attempt(exchange, model, [*targets[turn:], *targets[:turn]], why, delivery)
            if fault is None:
                blocked = delivery.blocked
                if blocked is None or delivery.committed or guard_tries >= _retries(blocked):
                    return None
                guard_tries += 1
                why = "guardrail"
                continue
            if delivery.committed or not fault.wire.next_target:
                return fault
            tries += len(exchange.attempts) - before  # a hedge that failed too is a try like any other
            why = "retry"
            if tries < budget and not await self._pause(exchange, model, fault, tries, same=len(targets) == 1):
                return fault
        return fault

    async def _pause(
        self, exchange: Exchange, model: ModelPlan, fault: GatewayFault, tries: int, *, same: bool
    ) -> bool:
        """Waits before a retry; false if the wait asked for is too long to be worth it. Another target needs no wait."""
        if not same:
            return True
        wait = fault.retry_after
        if wait is None:
            wait = self._rng.uniform(0, _BACKOFF * 2 ** (tries - 1))
        if wait > model.max_wait or wait >= exchange.remaining():
            return False
        await self._sleep(wait)
        return True

    def _order(self, targets: Sequence[Target]) -> list[Target]:
        """Weighted choice first, the others after it in the order written."""
        if len(targets) == 1:
            return list(targets)
        first = self._rng.choices(targets, [target.weight for target in targets])[0]
        return [first, *(target for target in targets if target is not first)]

    async def _attempt(
        self, exchange: Exchange, model: ModelPlan, targets: Sequence[Target], why: str, delivery: Delivery
    ) -> GatewayFault | None:
        """One call of the first target, and perhaps a hedge at the next. Every way out of it leaves an entry for each
        call in `exchange.attempts`, and closed replies."""
        trial = self._trial(exchange, model, targets[0], why, delivery)
        exchange.served_model, exchange.calling = model.alias, trial.target
        delivery.begin(trial.seen)
        outcome = "cancelled"
        try:
            if model.hedge_after is not None:
                trial = await self._raced(exchange, model, trial, targets, delivery)
                exchange.calling = trial.target
                delivery.begin(trial.seen)
            await self._converse(exchange, trial, delivery)
            outcome = "blocked" if delivery.blocked is not None else "ok"
        except GatewayFault as fault:
            outcome, trial.fault = fault.name, fault
            return fault
        except Exception as bug:
            outcome = "internal"
            raise Internal("The gateway failed while reading an upstream's answer.") from bug
        finally:
            await trial.close()
            trial.record(outcome)
            exchange.calling = None
        return None

    def _trial(self, exchange: Exchange, model: ModelPlan, target: Target, why: str, delivery: Delivery) -> Trial:
        provider = target.provider
        turn = sum(attempt.provider == provider for attempt in exchange.attempts)
        calling = exchange.calling
        turn += calling is not None and calling.provider == provider
        return Trial(exchange, model, target, self._upstreams[provider], why, delivery.cost, turn)

    async def _raced(
        self, exchange: Exchange, model: ModelPlan, first: Trial, targets: Sequence[Target], delivery: Delivery
    ) -> Trial:
        allowance = self._allowances.setdefault(model.alias, Allowance())
        allowance.called()

        def another() -> Trial | None:
            if not allowance.take():
                return None
            return self._trial(exchange, model, targets[1 % len(targets)], "hedge", delivery)

        assert model.hedge_after is not None
        asked = exchange.clock.now()
        try:
            return await race(first, model.hedge_after, another)
        finally:
            exchange.waited += exchange.clock.now() - asked

    async def _converse(self, exchange: Exchange, trial: Trial, delivery: Delivery) -> None:
        """Hands over what the call gives, from what a race has read of it."""
        clock = exchange.clock
        asked = clock.now()
        if not trial.lead:
            await trial.open()
        for batch in trial.lead:
            await delivery.push(batch)
            if delivery.over:
                return
            asked = clock.now()
        async for batch in trial.frames():
            if exchange.ttft is None:
                exchange.waited += clock.now() - asked
            await delivery.push(batch)
            if delivery.over:
                return
            asked = clock.now()
        delivery.end()


def _retries(blocked: Blocked) -> int:
    return sum(remedy.attempts for remedy in blocked.remedies if remedy.kind == "retry")


def refusal_message(blocked: Blocked) -> str:
    """What the client is told when an output check stopped the answer."""
    return blocked.message or f"The answer was stopped by the check {blocked.check!r} ({blocked.category})."
