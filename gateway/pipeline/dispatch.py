"""Calls upstreams until one answers: retries, then fallbacks, all under one deadline.

Which fault allows another try is data (`errors.Wire.next_target`); how often and how long to wait comes with the
plan. The SDKs retry as well, so a request that already is a retry gets no second try of ours on the same targets.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence

from gateway.core.errors import ContextOverflow, GatewayFault, Internal, Unavailable
from gateway.core.events import Blocked
from gateway.core.exchange import Exchange, new_span_id
from gateway.core.plan import ModelPlan, Target
from gateway.core.ports import Reply, Upstream
from gateway.core.receipt import Attempt
from gateway.pipeline.delivery import Delivery

_BACKOFF = 0.25
"""Seconds before the first retry of the same target; doubles, with full jitter."""


class Dispatcher:
    """Runs a plan. Holds no state of an exchange; counters live in the upstreams."""

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
            target = targets[tries % len(targets)]
            fault = await self._attempt(exchange, model, target, why, delivery)
            if fault is None:
                blocked = delivery.blocked
                if blocked is None or delivery.committed or guard_tries >= blocked.retry:
                    return None
                guard_tries += 1
                why = "guardrail"
                continue
            if delivery.committed or not fault.wire.next_target:
                return fault
            tries += 1
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
        self, exchange: Exchange, model: ModelPlan, target: Target, why: str, delivery: Delivery
    ) -> GatewayFault | None:
        """One call. Every way out of it leaves an entry in `exchange.attempts` and a closed reply."""
        call = _Call(exchange, target, why, delivery)
        delivery.begin()
        exchange.served_model, exchange.calling = model.alias, target
        outcome = "cancelled"
        try:
            await self._converse(exchange, model, call)
            outcome = "blocked" if delivery.blocked is not None else "ok"
        except GatewayFault as fault:
            outcome, call.fault = fault.name, fault
            return fault
        except Exception as bug:
            outcome = "internal"
            raise Internal("The gateway failed while reading an upstream's answer.") from bug
        finally:
            if call.reply is not None:
                await call.reply.close()
            exchange.attempts.append(call.record(outcome))
            exchange.calling = None
        return None

    async def _converse(self, exchange: Exchange, model: ModelPlan, call: _Call) -> None:
        upstream = self._upstreams[call.target.provider]
        clock = exchange.clock
        asked = clock.now()
        call.reply = await upstream.open(
            exchange.asked(),
            call.target,
            model.timeouts,
            traceparent=_traceparent(exchange, call.span_id),
            headers=exchange.headers,
        )
        delivery = call.delivery
        async for batch in call.reply.frames():
            if exchange.ttft is None:
                exchange.waited += clock.now() - asked
            await delivery.push(batch)
            if delivery.done or delivery.blocked is not None:
                return
            asked = clock.now()
        delivery.end()


class _Call:
    """What one attempt knows of itself until it is an `Attempt`."""

    __slots__ = ("_exchange", "_start", "_why", "delivery", "fault", "reply", "span_id", "target")

    def __init__(self, exchange: Exchange, target: Target, why: str, delivery: Delivery) -> None:
        self._exchange = exchange
        self._start = exchange.elapsed()
        self._why = why
        self.target = target
        self.delivery = delivery
        self.span_id = new_span_id()
        self.reply: Reply | None = None
        self.fault: GatewayFault | None = None

    def record(self, outcome: str) -> Attempt:
        exchange, delivery, reply, fault = self._exchange, self.delivery, self.reply, self.fault
        first = delivery.first_content
        return Attempt(
            provider=self.target.provider,
            model=self.target.model,
            endpoint=reply.endpoint if reply else (fault.endpoint if fault else ""),
            start=self._start,
            end=exchange.elapsed(),
            outcome=outcome,
            status=reply.status if reply else (fault.upstream_status if fault else None),
            ttft=first - exchange.started - self._start if first is not None else None,
            why=self._why,
            span_id=self.span_id,
            usage=delivery.usage,
            upstream_id=reply.upstream_id if reply else "",
            finish_reasons=tuple(delivery.finish_reasons.values()),
            response_model=delivery.response_model,
            response_id=delivery.response_id,
        )


def _traceparent(exchange: Exchange, span_id: str) -> str:
    trace = exchange.trace
    return f"00-{trace.trace_id}-{span_id}-{'01' if trace.sampled else '00'}"


def refusal_message(blocked: Blocked) -> str:
    """What the client is told when an output check stopped the answer."""
    return blocked.message or f"The answer was stopped by the check {blocked.check!r} ({blocked.category})."
