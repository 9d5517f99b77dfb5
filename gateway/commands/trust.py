"""Which models of a route see originals of what its checks mask (`internal: original`), and which never do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from gateway.providers.config import profile_of


def originals(config: Any, name: str) -> list[str]:
    """Lines for one route; none where no check leaves originals to anyone."""
    revealing = _revealing(config, name)
    if not revealing:
        return []
    inside, outside = _sides(config, _models(config, name))
    lines = [f"originals of {', '.join(revealing)}: sent to {_listed(inside)}"]
    if outside:
        lines.append(f"masked, whatever was tried before: {_listed(outside)}")
    return lines


def warnings(config: Any) -> list[str]:
    """What is allowed and worth knowing."""
    found = []
    for name in config.all_routes():
        revealing = _revealing(config, name)
        if not revealing:
            continue
        inside, outside = _sides(config, _models(config, name))
        for check in revealing:
            if not inside:
                found.append(
                    f"guardrails.{check}.internal: no model of the route {name!r} has a provider with trust: internal, so "
                    "nobody there sees originals"
                )
        if inside and outside:
            found.append(
                f"routes.{name}: some targets see originals and others do not ({_listed(outside)}); a retry, hedge or "
                "fallback to those is masked again, and may answer differently"
            )
    return found


def _revealing(config: Any, name: str) -> list[str]:
    return [check for check in config.all_routes()[name].guardrails if config.guardrails[check].internal == "original"]


def _models(config: Any, name: str) -> list[str]:
    """The models that a route's requests may reach, with those that stand in for them."""
    routes = config.all_routes()
    route = routes[name]
    if route.match is not None:
        start = list(route.match.models)
    else:
        named = {alias for other in routes.values() if other.match for alias in other.match.models}
        start = [alias for alias in config.models if alias not in named]
    if route.intents is not None:
        start += [then.model for then in route.intents.then.values() if then.model]
        start += [route.intents.default] if route.intents.default else []
    found: dict[str, None] = {}
    while start:
        alias = start.pop(0)
        model = config.models.get(alias)  # a route may have a name of its own
        if model is not None and alias not in found:
            found[alias] = None
            start += [*model.on_failure, *model.on_context_overflow]
    return list(found)


def _sides(config: Any, models: Iterable[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Their targets, as `model (provider)`: inside the house and outside."""
    inside: list[str] = []
    outside: list[str] = []
    for alias in models:
        for target in config.models[alias].targets:
            trusted = profile_of(config.providers[target.provider]).trust == "internal"
            (inside if trusted else outside).append(f"{alias} ({target.provider})")
    return list(dict.fromkeys(inside)), list(dict.fromkeys(outside))


def _listed(targets: Sequence[str]) -> str:
    return ", ".join(targets) or "no target"
