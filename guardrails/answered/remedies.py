"""From `then:` to what a stopped answer is replaced by, while nothing of it has been released."""

from __future__ import annotations

from gateway.core.events import Remedy
from guardrails.config import GuardrailConfig


def remedies_of(check: GuardrailConfig) -> tuple[Remedy, ...]:
    """The remedies of one check, in the order they are tried. None: the answer is refused."""
    return tuple(_remedy(step, check) for step in check.steps if step != "block")


def _remedy(step: str, check: GuardrailConfig) -> Remedy:
    if step in ("retry", "hedge"):
        return Remedy(step, attempts=check.attempts or 1)  # type: ignore[arg-type]
    if step == "reply":
        return Remedy("reply", text=check.reply or "")
    if step == "handoff":
        return Remedy("handoff", text=check.reply or "", team=check.handoff or "")
    return Remedy(step)  # type: ignore[arg-type]
