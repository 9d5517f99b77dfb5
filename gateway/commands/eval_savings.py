"""What a route's intents would have saved on the evaluated texts, beside always asking one big model."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gateway.commands.scoring import DataError

if TYPE_CHECKING:
    from gateway.core.plan import ModelPlan
    from routing.config import IntentsConfig, Then
    from routing.evaluate import RowResult


def savings(
    config: Any, route: str, results: Sequence[RowResult], texts: Sequence[str], answer_tokens: int
) -> dict[str, Any]:
    """Tokens of each question are estimated, each answer is taken as `answer_tokens` long, whoever gives it; replies that
    need no model cost nothing. Money is None where a price is not known.

    Raises `DataError` where there is nothing to compare with."""
    from gateway.providers.build import plans

    chosen = config.all_routes()[route]
    intents: IntentsConfig = chosen.intents
    table = plans(config.models, config.providers)
    baseline = chosen.baseline or _dearest(table)
    if baseline is None:
        raise DataError(
            f"route {route!r} has no `baseline`, and no model's price is known, so there is nothing to compare"
        )
    spent: float | None = 0.0
    always: float | None = 0.0
    asked: Counter[str] = Counter()
    for result, text in zip(results, texts, strict=True):
        alias = _answering(chosen, intents, result)
        asked[alias or "no model"] += 1
        always = _plus(always, _cost(table[baseline], text, answer_tokens))
        spent = _plus(
            spent, _cost(table[alias], text, answer_tokens) if alias in table else 0.0 if alias is None else None
        )
    known = spent is not None and always
    return {
        "baseline": baseline,
        "answer_tokens": answer_tokens,
        "answered_by": dict(asked.most_common()),
        "no_model": asked["no model"],
        "usd": spent,
        "baseline_usd": always,
        "saved": round(1 - spent / always, 4) if known and spent is not None and always else None,
    }


def lines(told: dict[str, Any], rows: int) -> list[str]:
    """For people."""
    by = ", ".join(f"{name} {count:,}" for name, count in told["answered_by"].items())
    out = [
        "",
        f"against always {told['baseline']}, {told['answer_tokens']} tokens an answer, without caches:",
        f"  answered by                    {by}",
        f"  no model called                {told['no_model']:,} of {rows:,} = {100 * told['no_model'] / max(1, rows):.2f} %",
    ]
    if told["saved"] is None:
        return [*out, "  cost                           a price is not known: set `price` of the models"]
    cost = f"{told['usd']:.4f} instead of {told['baseline_usd']:.4f} USD: {100 * told['saved']:.1f} % less"
    return [*out, f"  cost                           {cost}"]


def _answering(route: Any, intents: IntentsConfig, result: RowResult) -> str | None:
    """The alias that would be asked, None where the gateway itself answers."""
    from routing.config import default_model
    from routing.evaluate import OOS
    from routing.examples import OUT_OF_SCOPE, UNCLEAR

    name = OUT_OF_SCOPE if result.intent == OOS else result.intent
    if result.intent != OOS and UNCLEAR in intents.then and result.margin < intents.margin:
        name = UNCLEAR
    then: Then | None = intents.then.get(name)
    if then is not None and then.model is not None:
        return then.model
    if then is not None and (then.answer is not None or then.handoff is not None or then.clarify is not None):
        return None
    if route.tiers is not None:
        small: str = route.tiers.small  # one plain question: what makes it hard is not in the data
        return small
    named = route.match.models[0] if route.match is not None and route.match.models else ""
    return default_model(intents) or named


def _dearest(table: dict[str, ModelPlan]) -> str | None:
    priced = {alias: plan.targets[0].price for alias, plan in table.items() if plan.targets[0].price is not None}
    return max(priced, key=lambda alias: priced[alias].output) if priced else None  # type: ignore[union-attr]


def _cost(plan: ModelPlan, text: str, answer_tokens: int) -> float | None:
    from gateway.accounting.cost import cost_usd
    from gateway.core.events import Usage
    from gateway.core.tokens import text_tokens

    price = plan.targets[0].price
    if price is None:
        return None
    return cost_usd(Usage(input_tokens=max(1, math.ceil(text_tokens(text))), output_tokens=answer_tokens), price)


def _plus(total: float | None, more: float | None) -> float | None:
    return None if total is None or more is None else total + more
