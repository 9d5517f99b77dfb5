"""One text judged by the checks that need no configuration: the toxicity list and the injection detector."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from guardrails import toxicity
from guardrails.injection.check import Injection

INJECTION = "prompt_injection"
THRESHOLD = 0.5
"""Both checks' own."""


class Moderation(msgspec.Struct, frozen=True):
    """`scores`: 0 to 1 for each category that was looked for. They are severities and likelihoods, not the share of
    people who would mind."""

    scores: Mapping[str, float]

    @property
    def categories(self) -> Mapping[str, bool]:
        return {name: score >= THRESHOLD for name, score in self.scores.items()}


class Moderator:
    """Judges texts, by computing only. Holds no state; loads its models when made."""

    def __init__(self) -> None:
        self._injection = Injection()
        toxicity.rate("warm up")

    def judge(self, text: str) -> Moderation:
        """Raises ValueError for a text too long to tell."""
        return Moderation({**toxicity.rate(text).scores, INJECTION: self._injection.score(text).score})
