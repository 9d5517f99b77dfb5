"""Calls upstreams until one answers and no check objects: retries, hedges, fallbacks, all under one deadline.

Which fault allows another try is data (`errors.Wire.next_target`); how often and how long to wait comes with the
plan. The SDKs retry as well, so a request that already is a retry gets no second try of ours on the same targets.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

from gateway.core.answer import Answer
from gateway.core.errors import (
    ClientGone,
    GatewayFault,
    Internal,
    Overloaded,
    Unavailable,
)
from gateway.core.events import Blocked, Remedy
from gateway.core.exchange import Exchange
from gateway.core.plan import ModelPlan, Target
from gateway.core.ports import Upstream
from gateway.core.receipt import OWN_ROUTES, SHADOW
from gateway.pipeline.chain import Chain
from gateway.pipeline.delivery import Delivery
from gateway.pipeline.hedge import Allowance, race
from gateway.pipeline.places import Gates
from gateway.pipeline.run import Run
from gateway.pipeline.trial import Trial
from gateway.pipeline.weighing import weighed

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
        self.gates = Gates()
        self.shadow: Callable[[Exchange], None] = lambda exchange: None
        """Told of each exchange that was answered, once it has ended, if its model has a shadow."""

    async def run(self, exchange: Exchange, delivery: Delivery) -> Answer | None:
        """Delivers an answer, or gives the one that a check wants told instead, or raises the fault of the last try. An
        answer that a check stopped, with nothing to be done about it, ends in `delivery.blocked`."""
        plan = exchange.plan
        assert plan is not None, "the planner runs before dispatch"
        run = Run(exchange, delivery, Chain(plan, "shadow" if exchange.route == SHADOW else "first"))
        while (model := run.chain.model) is not None:
            if model.concurrency is None or exchange.inner:
                ended = await self._try_model(run, model)
            else:
                ended = await self._placed(run, model)
            if ended is None:
                if plan.models[0].shadow is not None and delivery.blocked is None and exchange.route not in OWN_ROUTES:
                    exchange.cleanup.append(partial(self.shadow, exchange))  # when it has ended
                return None
            if isinstance(ended, Remedy) and ended.kind != "fallback":
                return run.remedies.instead(ended)
            if not run.goes_on(ended):
                assert isinstance(ended, GatewayFault), "a check asks for another model only where there is one"
                return run.given_up(ended)
        raise Unavailable("No upstream is configured for this model.")

    async def _placed(self, run: Run, model: ModelPlan) -> GatewayFault | Remedy | None:
        """The same within one of the model's places, once there is one."""
        exchange = run.exchange
        try:
            place = await self.gates.of(model, exchange.clock).enter(exchange)
        except Overloaded as full:
            return full
        try:
            return await self._try_model(run, model)
        finally:
            place.leave()

    async def _try_model(self, run: Run, model: ModelPlan) -> GatewayFault | Remedy | None:
        """Up to `attempts` tries over one model's targets, and those that checks ask for. A remedy is one that goes beyond
        this model; None: there is an answer, or it was stopped for good."""
        exchange, delivery = run.exchange, run.delivery
        targets = weighed(model, exchange, self._rng)
        budget = model.attempts
        if exchange.headers.get("x-stainless-retry-count", "0") != "0":
            budget = min(budget, len(targets))
        tries = guarded = 0
        twice = False
        why, cause = run.chain.why, run.chain.cause
        fault: GatewayFault | None = None
        while tries < max(1, budget):
            before = len(exchange.attempts)
            turn = (tries + guarded) % len(targets)
            run.why, run.cause = why, cause
            ended = await self._attempt(run, model, [*targets[turn:], *targets[:turn]], twice=twice)
            if ended is None:
                return None
            cause = run.cause_of(ended)
            if isinstance(ended, Remedy):
                if ended.kind not in ("retry", "hedge"):
                    return ended
                why, twice = "guardrail", ended.kind == "hedge"
                guarded += 1
                continue
            fault = ended
            if delivery.committed or not fault.wire.next_target:
                return fault
            tries += len(exchange.attempts) - before  # a hedge that failed too is a try like any other
            why, twice = "retry", False
            if tries < budget and not await self._pause(exchange, model, fault, tries, same=len(targets) == 1):
                return fault
        return fault

    async def _pause(
        self, exchange: Exchange, model: ModelPlan, fault: GatewayFault, tries: int, *, same: bool
    ) -> bool:
        """Waits before a retry; false if the wait asked for is too long to be worth it. Another target, or
        another endpoint of the same, needs no wait."""
        if not same or fault.elsewhere:
            return True
        wait = fault.retry_after
        if wait is None:
            wait = self._rng.uniform(0, _BACKOFF * 2 ** (tries - 1))
        if wait > model.max_wait or wait >= exchange.remaining():
            return False
        asked = exchange.clock.now()
        await self._sleep(wait)
        exchange.waited += exchange.clock.now() - asked  # for the upstream's sake: no time that the gateway needs
        return True

    async def _attempt(
        self, run: Run, model: ModelPlan, targets: Sequence[Target], *, twice: bool
    ) -> GatewayFault | Remedy | None:
        """One call of the first target, and perhaps a hedge at the next; with `twice`, both at once. Every way out of it
        leaves an entry for each call in `exchange.attempts`, and closed replies."""
        exchange, delivery = run.exchange, run.delivery
        trial = self._trial(run, model, targets[0], run.why, run.cause)
        exchange.served_model, exchange.calling, exchange.revealed = model.alias, trial.target, trial.revealed
        delivery.begin(trial.seen)
        outcome = "cancelled"
        try:
            if twice or model.hedge_after is not None:
                trial = await self._raced(run, model, trial, targets, twice)
                exchange.calling, exchange.revealed = trial.target, trial.revealed
                delivery.begin(trial.seen)
            remedy = await self._converse(run, trial)
            outcome = "blocked" if delivery.blocked is not None else "ok"
        except GatewayFault as fault:
            outcome, trial.fault = fault.name, fault
            return fault
        except ClientGone:  # while its body was passed on
            raise
        except Exception as bug:
            outcome = "internal"
            raise Internal("The gateway failed while reading an upstream's answer.") from bug
        finally:
            await trial.close()
            trial.record(outcome)
            exchange.calling = None
        return remedy

    def _trial(self, run: Run, model: ModelPlan, target: Target, why: str, cause: str) -> Trial:
        exchange, provider = run.exchange, target.provider
        turn = sum(attempt.provider == provider for attempt in exchange.attempts)
        calling = exchange.calling
        turn += calling is not None and calling.provider == provider
        return Trial(exchange, model, target, self._upstreams[provider], why, cause, run.delivery.cost, turn)

    async def _raced(self, run: Run, model: ModelPlan, first: Trial, targets: Sequence[Target], twice: bool) -> Trial:
        """With `twice` a check wants it: at once, and not out of the allowance."""
        exchange = run.exchange
        allowance = self._allowances.setdefault(model.alias, Allowance())
        allowance.called()

        def another() -> Trial | None:
            if not twice and not allowance.take():
                return None
            target = targets[1 % len(targets)]
            if twice:
                return self._trial(run, model, target, "guardrail", run.cause)
            return self._trial(run, model, target, "hedge", f"no content after {after:g} s")

        after = 0.0 if twice else model.hedge_after
        assert after is not None, "only models with `hedge` are raced without a check"
        asked = exchange.clock.now()
        try:
            return await race(first, after, another)
        finally:
            exchange.waited += exchange.clock.now() - asked

    async def _converse(self, run: Run, trial: Trial) -> Remedy | None:
        """Delivers what the call gives. When a check stops it: the remedy that needs another call or answer, if any."""
        delivery = run.delivery
        if not trial.lead:
            asked = run.exchange.clock.now()
            await trial.open()
            run.exchange.waited += run.exchange.clock.now() - asked
        for batch in trial.lead:
            if run.minds_filters:
                await run.look(trial, batch)
            await delivery.push(batch)
            if delivery.over:
                break
        await self._read_on(run, trial)
        while (blocked := delivery.blocked) is not None:
            remedy = run.stopped(blocked, trial.took)
            if remedy is None or remedy.kind != "pass" or not await delivery.again():
                await trial.hear_usage()
                return remedy if remedy is None or remedy.kind != "pass" else None
            await self._read_on(run, trial)
        return None

    async def _read_on(self, run: Run, trial: Trial) -> None:
        exchange, delivery = run.exchange, run.delivery
        now = exchange.clock.now
        if delivery.over:
            return
        asked = now()
        async for batch in trial.frames():
            early = exchange.ttft is None
            if early:
                exchange.waited += now() - asked
            if run.minds_filters:
                await run.look(trial, batch)
            await delivery.push(batch)
            if delivery.done or delivery.blocked is not None:
                return
            if early:
                asked = now()
        delivery.end()


def refusal_message(blocked: Blocked) -> str:
    """What the client is told when an output check stopped the answer."""
    return blocked.message or f"The answer was stopped by the check {blocked.check!r} ({blocked.category})."
