"""`use: burst`: nearly the same prompt again and again from one caller."""

from __future__ import annotations

from collections.abc import Iterator

from guardrails.asked.burst import Bursts
from guardrails.asked.screen import Throttle
from guardrails.config import GuardrailConfig
from guardrails.kind import Kind, Tools, always, words

LIMIT = 20
WITHIN = 60.0
SIMILARITY = 0.9
MOST_LIMIT = 100_000


def _throttle(check: GuardrailConfig, tools: Tools) -> Throttle:
    return Bursts(
        tools.clock,
        limit=check.limit or LIMIT,
        within=check.within or WITHIN,
        similarity=check.similarity or SIMILARITY,
    )


def _problems(check: GuardrailConfig) -> Iterator[tuple[str, str]]:
    if check.limit is not None and not 1 <= check.limit <= MOST_LIMIT:
        yield ".limit", f"must be between 1 and {MOST_LIMIT}"
    if check.within is not None and not 1 <= check.within <= 86_400:
        yield ".within", "must be between 1s and 24h"
    if check.similarity is not None and not 0.5 <= check.similarity <= 1:
        yield ".similarity", "must be between 0.5 and 1: what is less alike is not the same prompt"


KIND = Kind(
    use="burst",
    category="burst",
    sides=frozenset({"input"}),
    actions=words("block flag"),
    keys=words("limit within similarity"),
    misses=always(
        "the same wish in other words; bursts spread over many keys or users; other workers' counts. Batch jobs that fill "
        "in one form are a burst: give their route a higher limit"
    ),
    throttle=_throttle,
    problems=_problems,
)
