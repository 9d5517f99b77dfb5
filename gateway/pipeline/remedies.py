"""What is done about an answer that an output check stopped, as long as nothing of it was released.

A check says what, in order (`Blocked.remedies`); several checks may. How often is counted for each check over the whole
exchange, and for all together, so that checks which take turns in stopping answers come to an end."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core.answer import Answer, AnswerKind, Handoff
from gateway.core.events import Blocked, Remedy
from gateway.core.exchange import Exchange

MOST_CALLS = 6
"""Upstream calls that the checks of one exchange may ask for, all together."""
_CALLS = {"retry": 1, "hedge": 2, "fallback": 1}


class Remedies:
    """One exchange's."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._calls = 0
        self._stopped: Blocked | None = None

    def next(self, blocked: Blocked, took: int, *, more: bool) -> Remedy | None:
        """The step to take now, counted as taken; None: the answer is refused. `took`: nanoseconds that the stopped answer
        took; with less than that left, no other is asked for. `more`: the plan has another model."""
        exchange, check = self._exchange, blocked.check
        self._stopped = blocked
        used = exchange.remedied.get(check, 0)
        for remedy in blocked.remedies:
            if remedy.kind in ("retry", "hedge"):
                if used < remedy.attempts and self._may_call(remedy, took):
                    exchange.remedied[check] = exchange.remedied.get(check, 0) + 1
                    return remedy
                used = max(0, used - remedy.attempts)
            elif remedy.kind == "fallback":
                if more and self._may_call(remedy, took):
                    return remedy
            elif remedy.kind == "pass":
                if check not in exchange.passing:
                    exchange.passing.add(check)
                    exchange.unshared = True  # whoever asks the same later may yet get a better one
                    return remedy
            else:
                return remedy
        return None

    def instead(self, remedy: Remedy) -> Answer:
        """The answer of `reply` and `handoff`."""
        exchange, text = self._exchange, remedy.text
        kind: AnswerKind = "canned"
        headers: dict[str, str] = {}
        handoff = None
        if remedy.kind == "handoff":
            assert self._stopped is not None, "a remedy follows a stop"
            handoff = _handoff(self._stopped, remedy)
            kind, headers = "handoff", {"x-tidegate-handoff": remedy.team}
            text = text or f"I am handing this over to {remedy.team.replace('_', ' ').replace('-', ' ')}."
        exchange.served_model = ""
        return Answer(kind, exchange.says(text), headers=headers, handoff=handoff)

    def last_resort(self) -> Remedy | None:
        """What a check still has to say when the calls it asked for have failed."""
        return _among(self._stopped.remedies, "reply", "handoff") if self._stopped is not None else None

    def too_late(self, blocked: Blocked) -> None:
        """Stopped after something was released: the answer ends there, but a person may still be told."""
        remedy = _among(blocked.remedies, "handoff")
        if remedy is not None:
            self._exchange.handoff = _handoff(blocked, remedy)

    def _may_call(self, remedy: Remedy, took: int) -> bool:
        """Counts the calls, if there may be any."""
        calls = _CALLS[remedy.kind]
        if self._calls + calls > MOST_CALLS or self._exchange.remaining() * 1e9 <= took:
            return False
        self._calls += calls
        return True


def _handoff(blocked: Blocked, remedy: Remedy) -> Handoff:
    return Handoff(remedy.team, f"check:{blocked.check}")


def _among(remedies: Sequence[Remedy], *kinds: str) -> Remedy | None:
    return next((remedy for remedy in remedies if remedy.kind in kinds), None)
