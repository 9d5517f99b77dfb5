"""What `tidegate check` says of how a route chooses its models: tiers, context windows, capabilities, baseline."""

from __future__ import annotations

from typing import Any


def planning_of(config: Any, route: Any) -> list[str]:
    """One line for each rule that holds."""
    lines = []
    if route.tiers is not None:
        tiers = route.tiers
        lines.append(f"{tiers.small} up to a complexity of {tiers.above:g}, {tiers.large} above it")
    context = route.context
    match context.on_overflow:
        case "truncate":
            turns = "turn" if context.keep == 1 else f"{context.keep} turns"
            lines.append(f"a prompt over the window loses its oldest turns, never the latest {turns}")
        case "reject":
            lines.append("a prompt over the window is refused")
        case "reroute":
            lines.append("a prompt over the window goes to a model that can hold it, or is refused")
        case _:
            lines.append("a prompt over the window goes to a model that can hold it, where all windows are known")
    if route.baseline is not None:
        price = _plans(config)[route.baseline].targets[0].price
        known = "" if price is not None else ", which has no known price, so nothing is compared"
        lines.append(f"cost is compared with {route.baseline}{known}")
    return lines


def unknown_of(config: Any) -> list[str]:
    """What is not known of models, and what follows from it."""
    found = []
    for alias, plan in _plans(config).items():
        if any(target.capabilities is None for target in plan.targets):
            found.append(f"models.{alias}.capabilities: absent; it is asked whatever the client asks")
        if any(target.context_window is None for target in plan.targets):
            found.append(f"models.{alias}.context_window: absent; its upstream says when a prompt is too long")
    return found


def _plans(config: Any) -> Any:
    from gateway.providers.build import plans

    return plans(config.models, config.providers)
