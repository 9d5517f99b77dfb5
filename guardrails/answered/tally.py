"""What the checks of one session did to one answer, and their verdicts when it is over."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core.errors import CheckFailed
from gateway.core.exchange import Exchange
from gateway.core.verdict import Action, Verdict
from guardrails.answered.merged import Owned
from guardrails.answered.rules import OutputRules

_STRONGER: dict[Action, int] = {"allow": 0, "flag": 1, "mask": 2, "block": 3}


class Tally:
    """Counts by check; `rules` are the checks, in the route's order. One verdict for each, with the strongest action that
    happened."""

    def __init__(self, exchange: Exchange, rules: Sequence[OutputRules], reason: str) -> None:
        self._exchange = exchange
        self._rules = rules
        self._reason = reason
        self._counts = [0] * len(rules)
        self._did: list[Action] = ["allow"] * len(rules)
        self._lost: set[int] = set()
        self.nanos = 0
        """Spent in the session, scanners included."""

    def count(self, span: Owned) -> None:
        self._add(span.owner, span.action)
        for owner, action in span.others:
            self._add(owner, action)

    def _add(self, owner: int, action: Action) -> None:
        self._counts[owner] += 1
        if _STRONGER[action] > _STRONGER[self._did[owner]]:
            self._did[owner] = action

    def is_lost(self, owner: int) -> bool:
        return owner in self._lost

    def not_scanned(self, owner: int, reason: str) -> None:
        """The check could not look. Said at once, whatever becomes of the answer."""
        if owner in self._lost:
            return
        self._lost.add(owner)
        rules = self._rules[owner]
        self._exchange.verdicts.append(
            Verdict(rules.name, "not_scanned", "output", self._counts[owner], rules.category, None, reason)
        )
        if not rules.closed:
            self._exchange.degraded.append(f"guardrail:{rules.name}")

    def crashed(self, owner: int) -> None:
        """Its scanner raised."""
        self.failed([owner], "crashed")

    def failed(self, owners: Sequence[int], reason: str) -> None:
        """These could not look. Never taken for "passed": closed ends the answer, by `CheckFailed`, open goes on without
        it."""
        for owner in owners:
            self.not_scanned(owner, reason)
        for owner in owners:
            if self._rules[owner].closed:
                name = self._rules[owner].name
                raise CheckFailed(f"The check {name!r} could not look at the answer, so it may not pass.") from None

    def passed(self, spent: Sequence[int], latest: int) -> None:
        """The answer was seen to its end."""
        self._say(range(len(self._rules)), spent, latest)

    def stopped(self, by: int, spent: Sequence[int], latest: int) -> None:
        """One check blocked. The others have not seen the end: they say what they did, never that it passed."""
        self._say([owner for owner, did in enumerate(self._did) if did != "allow" or owner == by], spent, latest)

    def _say(self, owners: Sequence[int], spent: Sequence[int], latest: int) -> None:
        """Each check's own time is what its scanners took; the rest was for all of them."""
        shared = max(0, self.nanos + latest - sum(spent)) // len(self._rules)
        for owner in owners:
            if owner not in self._lost:
                rules = self._rules[owner]
                micros = (spent[owner] + shared) // 1000
                self._exchange.verdicts.append(
                    Verdict(
                        rules.name, self._did[owner], "output", self._counts[owner], rules.category, None, self._reason,
                        micros,
                    )
                )  # fmt: skip
