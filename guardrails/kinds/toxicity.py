"""`use: toxicity`."""

from __future__ import annotations

from guardrails import toxicity
from guardrails.config import GuardrailConfig
from guardrails.kind import BOTH, Kind, always, words
from guardrails.scanner import Scanner


def _scanner(check: GuardrailConfig) -> Scanner:
    return toxicity.scanner(check.threshold or toxicity.THRESHOLD)


KIND = Kind(
    use="toxicity",
    category="toxicity",
    sides=BOTH,
    actions=words("block flag"),
    keys=words("threshold scope stream then attempts reply handoff"),
    streams=("window", "full"),
    misses=always(
        "whatever its English list does not spell out: paraphrase, allusion, sarcasm, context, letters spaced out, "
        "other languages; quotations and reports of hateful speech are hits; harmful requests in polite words are not"
    ),
    scanner=_scanner,
)
