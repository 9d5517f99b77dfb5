"""Which route's rules hold for a request: decided by the model's name alone, before any other stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.core.answer import Answer
from gateway.core.exchange import Exchange
from gateway.core.facts import Key
from routing.config import RouteMatch, overlaps

DEFAULT = "default"


def route_table(matches: Mapping[str, RouteMatch | None]) -> dict[str, str]:
    """Model to route. A model that is not in it belongs to `default`. Raises ValueError if two routes claim one."""
    for path, message in overlaps(matches):
        raise ValueError(f"{path}: {message}")
    return {model: route for route, match in matches.items() if match is not None for model in match.models}


class Select:
    """Decider: sets the exchange's route and that route's revision."""

    name = "select"
    consumes: tuple[Key[Any], ...] = ()
    produces: tuple[Key[Any], ...] = ()

    def __init__(self, matches: Mapping[str, RouteMatch | None], revisions: Mapping[str, str]) -> None:
        """`matches` and `revisions` (a digest of each route's configuration) by route name; `default` is in both."""
        if DEFAULT not in revisions or set(matches) != set(revisions):
            raise ValueError("every route needs a revision, `default` among them")
        self._table = route_table(matches)
        self._revisions = dict(revisions)

    def select(self, model: str) -> str:
        return self._table.get(model, DEFAULT)

    async def decide(self, exchange: Exchange) -> Answer | None:
        route = self.select(exchange.asked().model)
        exchange.route = route
        exchange.revision = self._revisions[route]
        return None
