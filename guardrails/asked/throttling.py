"""A check that counts: who asks nearly the same how often. Too often is told as any other limit is, with 429 and the time
to wait, so that a well-meaning client slows down by itself."""

from __future__ import annotations

import math
from collections.abc import Mapping

from gateway.core.errors import RateLimited
from gateway.core.exchange import Exchange
from gateway.core.verdict import Action, Verdict
from guardrails.asked.looking import owner_of
from guardrails.asked.screen import InputCheck, left_out, not_scanned


class Throttling:
    """One check. Looks at masked text; the caller is the key and, if it says so, its user."""

    def __init__(self, check: InputCheck) -> None:
        assert check.throttle is not None
        self.check = check
        self._counts = check.throttle

    def take(self, exchange: Exchange) -> None:
        """Raises RateLimited if there were too many, and CheckFailed if that cannot be told and must be."""
        check = self.check
        text = _text(exchange)
        if not text:
            return
        start = exchange.clock.now()
        try:
            wait = self._counts.take(owner_of(exchange), text)
        except Exception:
            micros = (exchange.clock.now() - start) // 1000
            exchange.verdicts.append(not_scanned(check, "input", "crashed", micros).verdict)
            left_out(exchange, check)
            return
        action: Action = check.actions.default if wait else "allow"
        micros = (exchange.clock.now() - start) // 1000
        exchange.verdicts.append(Verdict(check.name, action, "input", int(wait > 0), check.category, None, "", micros))
        if action == "block":
            raise RateLimited(
                f"The check {check.name!r} stopped a burst of nearly identical prompts; try again in {math.ceil(wait)} s.",
                retry_after=wait,
            )

    def stats(self) -> Mapping[str, float]:
        return {"entries": len(self._counts)}

    def again(self, exchange: Exchange) -> None:
        """The prompt counts once more: another check found that it may be an attempt to get past it."""
        text = _text(exchange)
        if text:
            self._counts.take(owner_of(exchange), text, anyway=True)


def _text(exchange: Exchange) -> str:
    """What is new in the conversation: what the user, or tools, said since the model last spoke. An agent at its work sends
    the same user turn with every step."""
    request = exchange.asked()
    spoke = max((slot.turn for slot in request.slots if slot.role == "assistant"), default=-1)
    new = [slot for slot in request.slots if slot.turn > spoke and slot.role in ("user", "tool")]
    return "\n".join(slot.text for slot in new or request.latest_user())
