"""`use: json_schema`: structured output that is what was asked for."""

from __future__ import annotations

from gateway.core.ports import Transform
from guardrails.answers import answer_rules
from guardrails.config import GuardrailConfig
from guardrails.json_schema import CATEGORY, JsonSchema
from guardrails.kind import OUTPUT, Kind, Tools, always, words


def _transform(name: str, check: GuardrailConfig, tools: Tools) -> Transform:
    return JsonSchema(answer_rules(name, check, CATEGORY, "full"), tools.pool)


KIND = Kind(
    use="json_schema",
    category=CATEGORY,
    sides=OUTPUT,
    actions=words("repair block flag"),
    keys=words("then attempts reply handoff stream retry_truncated"),
    streams=("full",),
    misses=always(
        "answers to requests that ask for no JSON; values that fit the schema and are wrong; the keyword `format`; "
        "schemas with patterns that RE2 does not take are not scanned"
    ),
    transform=_transform,
)
