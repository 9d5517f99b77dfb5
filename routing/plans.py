"""Every model's plan, worked out once at start: the model itself, then whom it falls back on."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gateway.configuring.problems import did_you_mean
from gateway.core.errors import UnknownModel
from gateway.core.exchange import Exchange
from gateway.core.plan import ModelPlan, Plan

MOST_MODELS = 8
"""In one plan. A request that failed on eight models is told so."""


class Plans:
    """`alias -> Plan`. A fallback's own fallbacks come after it, nearer ones first; a circle ends where it closes."""

    def __init__(self, models: Mapping[str, ModelPlan]) -> None:
        """Raises ValueError if a fallback names no model."""
        self._plans = {
            alias: Plan(
                models=_chain(alias, models, lambda plan: plan.on_failure),
                overflow=_chain(alias, models, lambda plan: plan.on_context_overflow)[1:],
                refused=_chain(alias, models, lambda plan: plan.on_content_policy)[1:],
            )
            for alias in models
        }

    def __contains__(self, alias: str) -> bool:
        return alias in self._plans

    def get(self, alias: str) -> Plan | None:
        return self._plans.get(alias)

    def asked(self, exchange: Exchange, default: str | None = None) -> Plan:
        """The plan of the model asked for, or else of `default`.

        Raises `UnknownModel`, which suggests only names that the caller may use.
        """
        model = exchange.asked().model
        plan = self._plans.get(model) or (self._plans.get(default) if default else None)
        if plan is None:
            allowed = exchange.principal.models
            seen = [alias for alias in self._plans if allowed is None or alias in allowed]
            raise UnknownModel(f"The model {model[:128]!r} does not exist.{did_you_mean(model, seen)}", param="model")
        return plan


def _chain(
    alias: str, models: Mapping[str, ModelPlan], following: Callable[[ModelPlan], tuple[str, ...]]
) -> tuple[ModelPlan, ...]:
    """Breadth first, so that what the operator wrote for this model comes before what he wrote for its fallbacks."""
    found = [alias]
    for name in found:
        for after in following(models[name]):
            if after not in models:
                raise ValueError(
                    f"models.{name} falls back on {after!r}, which is no model{did_you_mean(after, models)}"
                )
            if after not in found and len(found) < MOST_MODELS:
                found.append(after)
    return tuple(models[name] for name in found)
