"""`use: empty`: answers that say nothing."""

from __future__ import annotations

from gateway.core.ports import Transform
from guardrails.answered.answers import answer_rules
from guardrails.answered.empty import CATEGORY, Empty
from guardrails.config import GuardrailConfig
from guardrails.kind import OUTPUT, Delivery, Kind, Tools, words


def _transform(name: str, check: GuardrailConfig, tools: Tools) -> Transform:
    return Empty(answer_rules(name, check, CATEGORY, "window"))


def _misses(check: GuardrailConfig, side: str, delivery: Delivery) -> str:
    known = "answers of a lone dash or dot; whatever no codec knows counts as content"
    if delivery == "stream" and check.stream != "full" and check.steps:
        known += "; reasoning that was shown cannot be taken back, so `then` needs `stream: full` behind such models"
    return known


KIND = Kind(
    use="empty",
    category=CATEGORY,
    sides=OUTPUT,
    actions=words("block flag"),
    keys=words("then attempts reply handoff stream retry_truncated"),
    streams=("window", "full"),
    misses=_misses,
    transform=_transform,
)
