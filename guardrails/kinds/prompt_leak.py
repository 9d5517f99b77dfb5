"""`use: prompt_leak`: the application's own system prompt in an answer."""

from __future__ import annotations

from gateway.core.ports import Transform
from guardrails.config import GuardrailConfig
from guardrails.kind import OUTPUT, Kind, Tools, always, words
from guardrails.output import LeakScanners, OutputCheck, rules_of


def _transform(name: str, check: GuardrailConfig, tools: Tools) -> Transform:
    return OutputCheck(rules_of(name, check, KIND), LeakScanners())


KIND = Kind(
    use="prompt_leak",
    category="prompt_leak",
    sides=OUTPUT,
    actions=words("block flag"),
    keys=words("stream then attempts reply handoff"),
    streams=("window", "full"),
    misses=always("paraphrase, translation, encodings, prompts of fewer than eight words or without spaces"),
    transform=_transform,
)
