"""`use: secrets`."""

from __future__ import annotations

from functools import lru_cache

from guardrails.config import GuardrailConfig
from guardrails.finding.scanner import Scanner
from guardrails.kind import BOTH, SCANNED, Kind, always, words
from guardrails.private import secret_tokens


def _scanner(check: GuardrailConfig) -> Scanner:
    return _made()


@lru_cache(maxsize=1)
def _made() -> Scanner:
    return secret_tokens.scanner()


KIND = Kind(
    use="secrets",
    category="secrets",
    sides=BOTH,
    actions=words("mask block flag"),
    keys=words("restore link_hosts internal scope stream then attempts reply handoff"),
    streams=SCANNED,
    misses=always("keys of no known form that are not assigned to a name such as api_key"),
    scanner=_scanner,
)
