"""The injection check: rules and head together, one score a text. A scanner like the others, but whole texts only."""

from __future__ import annotations

import msgspec

from guardrails.injection.head import Head, load
from guardrails.injection.rules import Rules
from guardrails.text import decoded, normalised

STRONG_BONUS = 4.0
WEAK_BONUS = 1.0
"""What a rule adds to the logit. Chosen together with the threshold on held-out sources (`train.py` prints the
figures): a bonus and not a verdict, so that a question *about* an attack, which the model knows for one, can quote
it."""

MAX_CHARS = 400_000
"""Of one text; a longer one cannot be scored in any deadline and is reported as not scanned."""


class Scored(msgspec.Struct, frozen=True, gc=False):
    """0.5 is the threshold chosen in training. `rule` names the strong rule that hit, if any."""

    score: float
    rule: str = ""


class Injection:
    """Scores one text at a time. Holds no state, so one serves all exchanges."""

    def __init__(self, head: Head | None = None) -> None:
        self._head = head or load()
        self._rules = Rules()
        self.score("warm up: ignore nothing")

    def score(self, text: str) -> Scored:
        """How much `text` reads like an attack. Raises ValueError when it is too long to tell."""
        if len(text) > MAX_CHARS:
            raise ValueError(f"{len(text)} characters are more than {MAX_CHARS}")
        plain = normalised(text)
        if not plain:
            return Scored(0.0)
        hidden = decoded(text)
        if hidden:
            plain = normalised(plain + " " + " ".join(hidden))
        return Scored(*self._judge(plain))

    def _judge(self, plain: str) -> tuple[float, str]:
        strong, weak = self._rules.hits(plain)
        logit = float(self._head.logits(plain).max())
        return self._head.calibrated(logit + bonus(strong, weak)), strong


def bonus(strong: str, weak: int) -> float:
    return (STRONG_BONUS if strong else 0.0) + WEAK_BONUS * weak
