"""One decision record put to another configuration: which route, checks, caches and models would be chosen now.

A record holds no text that a user wrote, so whatever needs the text cannot be decided again, and is said not to be: what
checks find, which intent a question has, whether a cache has an answer, what a model would say.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from gateway.core.plan import ModelPlan
from gateway.core.receipt import OWN_ROUTES, Receipt

_UNKNOWABLE = "what checks would find, a cache would hold and a model would say: the record holds no text to ask with"


class Replay(msgspec.Struct, frozen=True):
    """`then` is of the record, everything else of the configuration. `unknown`: what cannot be decided again, and why."""

    then: dict[str, Any]
    route: str
    served: bool
    """The model asked for is one that clients may ask for."""
    checks: tuple[str, ...] = ()
    new_checks: tuple[str, ...] = ()
    """Checks that said nothing in the record."""
    gone_checks: tuple[str, ...] = ()
    caches: tuple[str, ...] = ()
    decided: str = ""
    """What chose the plan, in words."""
    plan: tuple[str, ...] = ()
    """Each model of the plan with its targets, first to last."""
    on_overflow: tuple[str, ...] = ()
    on_content_policy: tuple[str, ...] = ()
    cost_usd: float | None = None
    """Of the record's tokens at the plan's first target."""
    unknown: tuple[str, ...] = ()


def replayed(receipt: Receipt, config: Any) -> Replay:
    from gateway import config as configuration
    from gateway.accounting.cost import target_cost
    from gateway.providers.build import plans
    from routing.plans import Plans
    from routing.select import DEFAULT, route_table

    routes = config.all_routes()
    table = route_table({name: route.match for name, route in routes.items()})
    name = receipt.route if receipt.route in OWN_ROUTES else table.get(receipt.model, DEFAULT)
    route = routes.get(name, type(routes[DEFAULT])())
    served = bool(receipt.model) and receipt.model in configuration.served(config)
    alias, decided, unknown = _chosen(receipt, route, config)
    plan = Plans(plans(config.models, config.providers)).get(alias) if served or name in OWN_ROUTES else None
    models: Sequence[ModelPlan] = plan.models if plan is not None else ()
    spoke = dict.fromkeys(verdict.check for verdict in receipt.verdicts)
    return Replay(
        then=_then(receipt),
        route=name,
        served=served,
        checks=tuple(route.guardrails),
        new_checks=tuple(check for check in route.guardrails if check not in spoke),
        gone_checks=tuple(check for check in spoke if check not in route.guardrails),
        caches=_caches(route, config),
        decided=decided,
        plan=tuple(map(_model, models)),
        on_overflow=tuple(model.alias for model in plan.overflow) if plan is not None else (),
        on_content_policy=tuple(model.alias for model in plan.refused) if plan is not None else (),
        cost_usd=target_cost(receipt.usage, models[0].targets[0]) if models else None,
        unknown=(*unknown, *_fits(receipt, models), _UNKNOWABLE),
    )


def _then(receipt: Receipt) -> dict[str, Any]:
    """What the record says of the same things."""
    return {
        "route": receipt.route,
        "model": receipt.model,
        "served_model": receipt.served_model,
        "checks": list(dict.fromkeys(verdict.check for verdict in receipt.verdicts)),
        "cache": receipt.cache,
        "intent": receipt.intent,
        "tier": receipt.tier,
        "calls": [f"{call.provider}/{call.model}" for call in receipt.attempts],
        "cost_usd": receipt.cost_usd,
    }


def _chosen(receipt: Receipt, route: Any, config: Any) -> tuple[str, str, list[str]]:
    """The alias, what chose it, and what cannot be known of it. An intent's word comes before a tier's."""
    from routing.config import default_model
    from routing.examples import OUT_OF_SCOPE

    alias, decided, unknown = receipt.model, "the model asked for", []
    if route.tiers is not None:
        tiers = route.tiers
        if receipt.tier_score is None:
            unknown.append(f"the tier ({tiers.small} or {tiers.large}): the record has no complexity score")
        else:
            large = receipt.tier_score > tiers.above
            alias = tiers.large if large else tiers.small
            decided = f"a complexity of {receipt.tier_score:.3f}, {'over' if large else 'up to'} {tiers.above:g}"
    if route.intents is not None:
        if not receipt.intent:
            unknown.append("the intent: the record has none, and holds no text to find it in")
        else:
            score = receipt.intent_score
            below = score is not None and score < route.intents.below
            intent = OUT_OF_SCOPE if below else receipt.intent
            then = route.intents.then.get(intent)
            decided = f"the intent {intent}, as the record has it"
            if then is not None and then.model is not None:
                alias = then.model
            elif then is not None:
                return "", f"{decided}: an answer without a model", unknown
    if alias not in config.models and route.intents is not None:
        alias = default_model(route.intents) or alias
    return alias, decided, unknown


def _caches(route: Any, config: Any) -> tuple[str, ...]:
    import cache.config

    told = cache.config.describe(
        route.cache or cache.config.CacheConfig(), redis=config.redis is not None, qdrant=config.qdrant
    )
    return tuple(told)


def _model(model: ModelPlan) -> str:
    weights = sum(target.weight for target in model.targets)
    targets = [
        f"{target.provider}/{target.model}" + (f" ({target.weight / weights:.0%})" if len(model.targets) > 1 else "")
        for target in model.targets
    ]
    return f"{model.alias}: {', '.join(targets)}"


def _fits(receipt: Receipt, models: Sequence[ModelPlan]) -> list[str]:
    """Whether the prompt would fit, as far as its tokens were counted then."""
    if receipt.usage is None or not models:
        return ["whether the prompt fits into the models' windows: the record has no count of its tokens"]
    tokens = receipt.usage.input_tokens
    small = [
        f"{model.alias} ({max(windows)})"
        for model in models
        if (windows := [target.context_window for target in model.targets if target.context_window is not None])
        and max(windows) < tokens
    ]
    return (
        [f"which model would stand in: the prompt had {tokens} tokens, more than {', '.join(small)}"] if small else []
    )


def lines_of(told: Replay, source: str) -> list[str]:
    """For people. What differs from the record is marked."""
    was = told.then
    lines = [f"replayed against {source}"]
    rows = [("route", told.route + _unlike(was["route"], told.route))]
    if not told.served and told.route not in OWN_ROUTES:
        rows.append(("asked", f"the model {was['model']!r} is none that clients may ask for: 404 model_not_found"))
    checks = ", ".join(told.checks) or "none"
    checks += f"; new: {', '.join(told.new_checks)}" if told.new_checks else ""
    checks += f"; no more: {', '.join(told.gone_checks)}" if told.gone_checks else ""
    rows.append(("guards", checks))
    rows += [("cache", line) for line in told.caches or ("none",)]
    if told.decided:
        rows.append(("decided", f"by {told.decided}"))
    rows += [("plan", f"{at}. {model}") for at, model in enumerate(told.plan, 1)] or [("plan", "no model is called")]
    rows += [("overflow", ", ".join(told.on_overflow))] * bool(told.on_overflow)
    rows += [("filtered", ", ".join(told.on_content_policy))] * bool(told.on_content_policy)
    if told.cost_usd is not None:
        before = f", {was['cost_usd']:.8f} USD then" if was["cost_usd"] is not None else ""
        rows.append(("cost", f"{told.cost_usd:.8f} USD for the same tokens{before}"))
    rows += [("unknown", what) for what in told.unknown]
    return lines + _aligned(rows)


def _unlike(before: Any, now: Any) -> str:
    return "" if before == now else f" (was {before or 'none'})"


def _aligned(rows: Sequence[tuple[str, str]]) -> list[str]:
    out, last = [], ""
    for name, text in rows:
        out.append(f"  {name if name != last else '':9} {text}")
        last = name
    return out
