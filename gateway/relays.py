"""What is relayed: from the configuration to its pipeline and its routes."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from gateway.config import Config, RouteConfig
from gateway.core.ports import Dialect
from gateway.core.verdict import Side
from gateway.pipeline.build import Common, Pipeline, RouteParts, build
from gateway.pipeline.dispatch import Dispatcher
from gateway.pipeline.receive import decode
from gateway.relay.answer import RelayForm
from gateway.relay.config import unread
from gateway.relay.ids import Ids
from gateway.relay.receive import Receive
from gateway.relay.route import PassUnread, RelayRoute
from gateway.relay.seal import Seals


def relayed(
    config: Config,
    secret: bytes,
    dispatcher: Dispatcher,
    dialects: Mapping[str, Dialect],
    common: Common,
    routes: Mapping[str, RouteParts],
) -> tuple[Pipeline, Dispatcher, dict[str, RelayForm]]:
    """What a spine needs: the stages of `routes` that hold for what is not understood, who calls, and how answers are told.
    No caches, and no checks of answers: there is nothing in these that either could read."""
    ids = Ids(Seals(secret, config.providers, config.relay.owner))
    providers = config.relay.providers()
    ours = msgspec.structs.replace(common, receive=Receive(ids, decode, config.server.max_body))
    parts = {
        name: RouteParts(
            relay=_unread(name, config.all_routes()[name], config),
            mask=route.mask,
            inspect=route.inspect,
            verdict=route.verdict,
            route=RelayRoute(route.route, providers),
        )
        for name, route in routes.items()
    }
    return build(ours, parts), dispatcher, {"openai": RelayForm(dialects["openai"], ids)}


def _unread(name: str, route: RouteConfig, config: Config) -> PassUnread:
    checks = {check: config.guardrails[check] for check in route.guardrails}
    sides: list[tuple[str, Side]] = [(check, side) for check, one in checks.items() for side in one.on]
    must = [] if route.relay else unread({check: one.on_error for check, one in checks.items()})
    return PassUnread(name, sides, must)
