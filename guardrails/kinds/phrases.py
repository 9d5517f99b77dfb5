"""`use: phrases`: words that must not go in or out, whatever they mean."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from guardrails.config import GuardrailConfig
from guardrails.finding.scanner import Scanner
from guardrails.finding.word_phrases import WordPhrases
from guardrails.kind import BOTH, SCANNED, Kind, always, words


def _scanner(check: GuardrailConfig) -> Scanner:
    return _made(tuple(check.deny or ()))


@lru_cache(maxsize=64)
def _made(deny: tuple[str, ...]) -> Scanner:
    return WordPhrases(deny, kind="PHRASE")


def _problems(check: GuardrailConfig) -> Iterator[tuple[str, str]]:
    if not check.deny:
        yield ".deny", "missing: write the phrases to look for"


KIND = Kind(
    use="phrases",
    category="denied_phrase",
    sides=BOTH,
    actions=words("mask block flag"),
    keys=words("deny restore link_hosts internal scope stream then attempts reply handoff"),
    streams=SCANNED,
    misses=always("other spellings, synonyms, translations"),
    scanner=_scanner,
    problems=_problems,
)
