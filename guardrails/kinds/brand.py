"""`use: brand`: names of competitors, products or people that must not be said."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from guardrails.config import GuardrailConfig
from guardrails.finding.scanner import Scanner
from guardrails.kind import BOTH, SCANNED, Kind, always, words
from guardrails.subjects.brands import Brands


def _scanner(check: GuardrailConfig) -> Scanner:
    return _made(tuple(check.deny or ()), tuple(check.allow or ()))


@lru_cache(maxsize=64)
def _made(deny: tuple[str, ...], allow: tuple[str, ...]) -> Scanner:
    return Brands(deny, allow)


def _problems(check: GuardrailConfig) -> Iterator[tuple[str, str]]:
    if not check.deny:
        yield ".deny", "missing: write the names to look for"
    if len(check.deny or ()) > 2_000:
        yield ".deny", "more than 2000 names"
    for at, phrase in enumerate(check.allow or ()):
        if len(phrase.split()) < 2:
            yield (
                f".allow[{at}]",
                "write a phrase around the name, such as 'apple pie': one word would allow the name itself",
            )


KIND = Kind(
    use="brand",
    category="brand",
    sides=BOTH,
    actions=words("mask block flag"),
    keys=words("deny allow restore link_hosts internal scope stream then attempts reply handoff"),
    streams=SCANNED,
    misses=always(
        "misspellings, translations, other scripts, domain names and identifiers that have the name inside a longer word, "
        "and whatever describes it without naming it; a name that is also a word is a hit wherever that word is"
    ),
    scanner=_scanner,
    problems=_problems,
)
