"""`use: tool_schema`: calls of tools that exist, with arguments that fit."""

from __future__ import annotations

from gateway.core.ports import Transform
from guardrails.answered.answers import answer_rules
from guardrails.answered.tool_schema import CATEGORY, ToolSchema
from guardrails.config import GuardrailConfig
from guardrails.kind import OUTPUT, Delivery, Kind, Tools, words


def _transform(name: str, check: GuardrailConfig, tools: Tools) -> Transform:
    return ToolSchema(answer_rules(name, check, CATEGORY, "window"), tools.pool)


def _misses(check: GuardrailConfig, side: str, delivery: Delivery) -> str:
    known = (
        "arguments that fit the schema and are wrong; tools without a JSON schema (custom and built-in ones); calls "
        "that the provider runs itself"
    )
    if delivery == "stream" and check.stream != "full" and check.steps:
        known += "; `then` is only possible where no text or reasoning came before the calls (`stream: full` holds it)"
    return known


KIND = Kind(
    use="tool_schema",
    category=CATEGORY,
    sides=OUTPUT,
    actions=words("repair block flag"),
    keys=words("then attempts reply handoff stream retry_truncated"),
    streams=("window", "full"),
    misses=_misses,
    transform=_transform,
)
