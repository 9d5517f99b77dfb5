"""`use: injection`."""

from __future__ import annotations

from functools import lru_cache

from guardrails.config import GuardrailConfig
from guardrails.injection.check import Injection
from guardrails.inspectors import Scoring
from guardrails.kind import INPUT, Kind, Tools, always, words
from guardrails.screen import Inspector

THRESHOLD = 0.5


def _inspector(check: GuardrailConfig, tools: Tools) -> Inspector:
    return Scoring(_injection(), check.threshold or THRESHOLD)


@lru_cache(maxsize=1)
def _injection() -> Injection:
    return Injection()


KIND = Kind(
    use="injection",
    category="prompt_injection",
    sides=INPUT,
    actions=words("block flag"),
    keys=words("threshold scope"),
    misses=always(
        "payloads that only state a task, and harmful asks told as a story; scripts other than the trained ones"
    ),
    inspector=_inspector,
)
