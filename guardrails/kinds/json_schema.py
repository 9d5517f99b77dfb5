"""`use: json_schema`: structured output that is what was asked for."""

from __future__ import annotations

from gateway.core.ports import Transform
from guardrails.config import GuardrailConfig
from guardrails.json_schema import CATEGORY, JsonRules, JsonSchema
from guardrails.kind import OUTPUT, Kind, Tools, always, words
from guardrails.remedies import remedies_of


def _transform(name: str, check: GuardrailConfig, tools: Tools) -> Transform:
    rules = JsonRules(
        name=name,
        mend=check.action == "repair",
        remedies=remedies_of(check),
        closed=check.on_error == "closed",
        deadline=check.deadline,
    )
    return JsonSchema(rules, tools.pool)


KIND = Kind(
    use="json_schema",
    category=CATEGORY,
    sides=OUTPUT,
    actions=words("repair block"),
    keys=words("then attempts reply handoff stream"),
    streams=("full",),
    misses=always("answers to requests that ask for no JSON"),
    transform=_transform,
)
