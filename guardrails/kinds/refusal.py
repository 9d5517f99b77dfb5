"""`use: refusal`: answers in which the model declines."""

from __future__ import annotations

from gateway.core.ports import Transform
from guardrails.answered.answers import answer_rules
from guardrails.answered.refusal import CATEGORY, Refusal
from guardrails.answered.refusal_rules import LANGUAGES, OPENING
from guardrails.config import GuardrailConfig
from guardrails.kind import OUTPUT, Delivery, Kind, Tools, words


def _transform(name: str, check: GuardrailConfig, tools: Tools) -> Transform:
    return Refusal(answer_rules(name, check, CATEGORY, "window"))


def _misses(check: GuardrailConfig, side: str, delivery: Delivery) -> str:
    known = (
        f"unusual wordings (most of them); refusals after the first {OPENING} characters, in quotation marks, or in "
        f"languages other than {', '.join(LANGUAGES)}; half-answers; "
        "declining what cannot be known or done is sometimes a hit"
    )
    if delivery == "stream" and check.stream != "full" and check.steps:
        known += "; reasoning that was shown cannot be taken back, so `then` needs `stream: full` behind such models"
    return known


KIND = Kind(
    use="refusal",
    category=CATEGORY,
    sides=OUTPUT,
    actions=words("block flag"),
    keys=words("then attempts reply handoff stream"),
    streams=("window", "full"),
    misses=_misses,
    transform=_transform,
)
