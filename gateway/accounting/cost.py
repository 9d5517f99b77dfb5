"""Tokens to money, one token class at a time."""

from __future__ import annotations

from gateway.core.events import Usage
from gateway.core.exchange import Exchange
from gateway.core.plan import Price, Target

_MILLION = 1_000_000


def cost_usd(usage: Usage, price: Price) -> float:
    """What `usage` costs in USD.

    Cached tokens and tokens written to the provider's prompt cache are part of `input_tokens`, reasoning tokens part
    of `output_tokens`: each token is paid for once, at its own class's price. Counts that contradict each other
    (more cached tokens than input) never make a class negative.
    """
    cached = min(usage.cached_tokens, usage.input_tokens)
    written = min(usage.cache_write_tokens, usage.input_tokens - cached)
    fresh = usage.input_tokens - cached - written
    reasoning = min(usage.reasoning_tokens, usage.output_tokens)
    spoken = usage.output_tokens - reasoning
    total = (
        fresh * price.input
        + cached * _or(price.cached_input, price.input)
        + written * _or(price.cache_write, price.input)
        + spoken * price.output
        + reasoning * _or(price.reasoning, price.output)
    )
    return total / _MILLION


def target_cost(usage: Usage | None, target: Target | None) -> float | None:
    """What a call of `target` cost. None when there is no price or no usage: an unknown cost is not a cost of nothing."""
    if target is None or target.price is None or usage is None:
        return None
    return cost_usd(usage, target.price)


def saved_usd(exchange: Exchange) -> float | None:
    """What a cached answer would have cost at the first target of its plan; None when that has no price."""
    usage, plan = exchange.cache.saved, exchange.plan
    if usage is None or plan is None:
        return None
    price = plan.models[0].targets[0].price
    return cost_usd(usage, price) if price is not None else None


def _or(price: float | None, fallback: float) -> float:
    return fallback if price is None else price
