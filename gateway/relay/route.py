"""The `route` stage of what is relayed: who is asked, and whether it may pass unread."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from gateway.core.answer import Answer
from gateway.core.errors import Forbidden, NotFound
from gateway.core.exchange import Exchange
from gateway.core.facts import Key
from gateway.core.plan import ModelPlan, Plan, Target
from gateway.core.ports import Decider
from gateway.core.verdict import Side, Verdict
from gateway.relay.operations import HELD


class PassUnread:
    """Decider, the first of a route's: refuses what the route's checks would have to read and cannot."""

    name = "relay"
    consumes: tuple[Key[Any], ...] = ()
    produces: tuple[Key[Any], ...] = ()

    def __init__(self, route: str, checks: Sequence[tuple[str, Side]], must: Collection[str]) -> None:
        """`checks`: all of the route's, with each of their sides. `must`: those without which nothing may pass."""
        self._route = route
        self._unread = tuple(Verdict(name, "not_scanned", side, reason="relayed") for name, side in checks)
        self._unheard = tuple(verdict for verdict in self._unread if verdict.side == "output")
        self._must = tuple(must)

    async def decide(self, exchange: Exchange) -> Answer | None:
        request = exchange.asked()
        if self._must and not request.slots:
            raise Forbidden(
                f"The checks of route {self._route!r} ({', '.join(self._must)}) cannot read what {request.operation} "
                f"carries, so it may not pass. An operator can allow it: routes.{self._route}.relay: unscanned",
                code="unscanned",
            )
        exchange.verdicts.extend(self._unheard if request.slots else self._unread)
        return None


class RelayRoute:
    """Decider `route`. By the model where the body names one, else by what the request says of what is kept where, else by
    the configuration's `relay:`."""

    name = "route"
    consumes: tuple[Key[Any], ...] = ()
    produces: tuple[Key[Any], ...] = ()

    def __init__(self, router: Decider, providers: Mapping[str, str]) -> None:
        """`router`: the route's own. `providers`: by operation."""
        self._router = router
        self._providers = dict(providers)

    async def decide(self, exchange: Exchange) -> Answer | None:
        request = exchange.asked()
        passing = request.passing
        assert passing is not None, "only what is passed on comes here"
        if request.operation in HELD:
            exchange.plan = self._kept(request.operation, passing.provider, again=passing.method == "GET")
            return None
        answer = await self._router.decide(exchange)
        if answer is None and exchange.plan is not None:
            exchange.plan = _once(exchange.plan) if passing.upload and not passing.upload.repeatable else exchange.plan
        return answer

    def _kept(self, operation: str, named: str, *, again: bool) -> Plan:
        provider = named or self._providers.get(operation, "")
        if not provider:
            raise NotFound(
                f"This gateway relays no {operation}. An operator can say which provider keeps them: relay.{operation}"
            )
        target = Target(provider=provider, model="")
        return Plan(models=(ModelPlan(alias="", targets=(target,), attempts=2 if again else 1),))


def _once(plan: Plan) -> Plan:
    """One call, of one target: what has gone by cannot be sent again."""
    first = msgspec.structs.replace(plan.models[0], attempts=1, hedge_after=None)
    return Plan(models=(first,))
