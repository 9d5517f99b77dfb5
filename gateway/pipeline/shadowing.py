"""A copy of some requests goes to another model after their answer is out: how would that one have done?

Nobody sees what it says and nothing keeps it. It is an exchange of its own on the route `shadow`, with its own receipt,
that no key pays for: it can neither change nor delay what the client gets, nor use up what it may use. It is sent what any
call of its target would have been sent: the masked text, unless the route shows originals to trusted targets.

Shadows are bounded: when as many as may are under way, a request goes without, and is counted.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from gateway.core.ending import end
from gateway.core.errors import GatewayFault
from gateway.core.exchange import Exchange, Principal, Trace, new_exchange_id, new_span_id
from gateway.core.plan import Plan
from gateway.core.priority import LOW
from gateway.core.receipt import SHADOW
from gateway.pipeline.alone import Alone, no_body
from gateway.pipeline.judging import Heard

MOST = 16
"""Under way at one time, in this process."""
LONGEST = 120.0
"""Seconds that one may take."""
NOBODY = Principal(key_id=SHADOW, tenant=SHADOW)


class Shadows:
    """`made` and `dropped` count since the start."""

    def __init__(
        self, alone: Alone, plans: Callable[[str], Plan | None], *, most: int = MOST, rng: random.Random | None = None
    ) -> None:
        """`plans`: the plan of an alias."""
        self._alone = alone
        self._plans = plans
        self._most = most
        self._rng = rng or random.Random()  # noqa: S311 - draws a sample, guards nothing
        self._tasks: set[asyncio.Task[None]] = set()
        self.made = self.dropped = 0

    def __len__(self) -> int:
        return len(self._tasks)

    def cast(self, exchange: Exchange) -> None:
        """For an exchange whose answer is out: perhaps begins its shadow. Never waits, never fails."""
        plan = exchange.plan
        wanted = plan.models[0].shadow if plan is not None and plan.models else None
        if wanted is None or exchange.asked().passing is not None or self._rng.random() >= wanted.share:
            return
        target = self._plans(wanted.model)
        if target is None or len(self._tasks) >= self._most:
            self.dropped += 1
            return
        child = _shadow_of(exchange, target)
        exchange.shadow = child.id
        self.made += 1
        task = asyncio.get_running_loop().create_task(self._follow(child), name="shadow")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _follow(self, child: Exchange) -> None:
        try:
            await self._alone.run(child, Heard(0).afresh)
        except (GatewayFault, TimeoutError):
            return  # its receipt says so

    async def close(self) -> None:
        """Those under way are given up."""
        await end(self._tasks)


def _shadow_of(exchange: Exchange, plan: Plan) -> Exchange:
    """It shares the request, which nothing changes any more, and what is known of the masks in it."""
    trace = exchange.trace
    return Exchange(
        id=new_exchange_id(),
        dialect=exchange.dialect,
        operation=exchange.operation,
        headers={name: value for name, value in exchange.headers.items() if not name.startswith("x-stainless-")},
        credential=None,
        read_body=no_body,
        clock=exchange.clock,
        trace=Trace(trace.trace_id, new_span_id(), trace.span_id, trace.sampled),
        timeout=LONGEST,
        principal=NOBODY,
        session=exchange.session,
        tags=(f"parent={exchange.id}",),
        request=exchange.request,
        facts=exchange.facts,
        permitted=True,
        priority=LOW,
        route=SHADOW,
        plan=plan,
    )
