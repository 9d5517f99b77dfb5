"""`use: prompt_leak`: the application's own system prompt in an answer."""

from __future__ import annotations

from gateway.core.ports import Transform
from guardrails.answered.canary import canary_of
from guardrails.answered.leak_scanners import LeakScanners
from guardrails.answered.output import OutputCheck, rules_of
from guardrails.config import GuardrailConfig
from guardrails.kind import OUTPUT, SCANNED, Delivery, Kind, Tools, words


def _transform(name: str, check: GuardrailConfig, tools: Tools) -> Transform:
    return OutputCheck(rules_of(name, check, KIND), LeakScanners(_canary(name, check, tools)))


def _canary(name: str, check: GuardrailConfig, tools: Tools) -> str:
    return canary_of(tools.secret, name) if check.canary else ""


def _misses(check: GuardrailConfig, side: str, delivery: Delivery) -> str:
    known = (
        "paraphrase, translation, a few words at a time, codes other than rot13, Base64, hexadecimal, writing backwards and "
        "letter by letter, and two of those together; what follows the first 2,000 words of the prompt"
    )
    short = "prompts of fewer than eight words or without spaces"
    return f"{known}; {short}, unless the canary comes with them" if check.canary else f"{known}; {short}"


KIND = Kind(
    use="prompt_leak",
    category="prompt_leak",
    sides=OUTPUT,
    actions=words("block flag"),
    keys=words("canary stream then attempts reply handoff"),
    streams=SCANNED,
    misses=_misses,
    transform=_transform,
    canary=_canary,
)
