"""`use: json_schema`: structured output that is what was asked for."""

from __future__ import annotations

from gateway.core.ports import Transform
from guardrails.answered.answers import answer_rules
from guardrails.answered.json_schema import CATEGORY, JsonSchema
from guardrails.config import GuardrailConfig
from guardrails.kind import OUTPUT, Delivery, Kind, Tools, words


def _transform(name: str, check: GuardrailConfig, tools: Tools) -> Transform:
    return JsonSchema(answer_rules(name, check, CATEGORY, "full"), tools.pool)


def _misses(check: GuardrailConfig, side: str, delivery: Delivery) -> str:
    known = (
        "answers to requests that ask for no JSON; values that fit the schema and are wrong; the keyword `format`; schemas "
        "with patterns that RE2 does not take are not scanned"
    )
    if delivery == "stream" and check.stream == "window" and check.steps:
        known += (
            "; `then` is only possible where no reasoning and no call came before the text (`stream: full` holds them)"
        )
    return known


KIND = Kind(
    use="json_schema",
    category=CATEGORY,
    sides=OUTPUT,
    actions=words("repair block flag"),
    keys=words("then attempts reply handoff stream retry_truncated"),
    streams=("full", "window"),
    misses=_misses,
    transform=_transform,
)
