"""Whether a route may serve semantic hits: only where it is known that few of them are wrong.

Every **would-be hit** (a candidate above the configured threshold that no veto stops) whose right answer became known is an
`Outcome`. A threshold is open when the one-sided 95 % upper bound on wrong/served among the outcomes at or above it is at
most the route's `max_false_hit_rate`: 299 clean outcomes for 1 %, 473 with one wrong. Thresholds come from a fixed grid and
are tried from strict to loose, stopping at the first that fails, so that choosing among them does not spoil the bound. The
first is the strictest with enough outcomes to bear one that is wrong, where there are so many (how many there are says
nothing of their labels): from a stricter one a single error would shut all that follow. While none is open the route is in
**shadow**: the model is called, and its answer compared.

What is *not* guaranteed. The bound holds for traffic like the outcomes', not against someone who looks for a hole, and for
one look at them: we look after each, so a route whose true rate lies a little above the limit may open for a while, until
its own samples close it again. An unclear comparison counts as wrong.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from cache.bounds import needed, surely_above, surely_within, upper

GRID = (0.995, 0.99, 0.98, 0.97, 0.96, 0.95, 0.94, 0.93, 0.92, 0.90, 0.88, 0.85, 0.80, 0.70, 0.60, 0.50)
WINDOW = 2000
"""Outcomes that count: the latest. Older traffic says less of today's."""
MOST_PAIRS = 10_000
STRIKES = 2
"""Questions that an entry may wrongly answer before it is evicted."""

Label = Literal["right", "wrong", "unclear"]
State = Literal["shadow", "serving", "assumed"]


class Outcome(msgspec.Struct, frozen=True, array_like=True):
    """One would-be hit with a label. Holds no text: `entry` and `question` are keyed hashes, and empty for evidence that
    was read from a file."""

    score: float
    label: Label
    entry: str = ""
    question: str = ""
    confirmed: bool = False
    """A person said so, or the answers contradict each other."""
    voids: bool = False
    """The label of this pair that came before does not count any more."""


class Evidence:
    """One route's. Everything here runs on the event loop and never waits."""

    def __init__(self, *, threshold: float, rate: float, assumed: bool = False) -> None:
        self._rate = rate
        self._assumed = assumed
        self._enough, self._bearing = needed(rate), needed(rate, 1)
        self._grid = (*(cut for cut in GRID if cut > threshold), threshold)
        self._outcomes: deque[Outcome] = deque()
        self._of = [0] * len(self._grid)
        self._wrong = [0] * len(self._grid)
        self._bad: OrderedDict[tuple[str, str], None] = OrderedDict()
        self.counts: dict[Label, int] = {"right": 0, "wrong": 0, "unclear": 0}
        """Of this process, since it started."""
        self.threshold: float | None = None
        """From which score on hits are served; None: from none, the route is in shadow."""
        self.state: State = "shadow"
        self._decide()

    @property
    def bound(self) -> float:
        """On wrong/served from the threshold in use, or in shadow from the configured one."""
        at = self._grid.index(self.threshold) if self.threshold is not None else len(self._grid) - 1
        return upper(sum(self._wrong[: at + 1]), sum(self._of[: at + 1]))

    def add(self, outcome: Outcome) -> bool:
        """Counts it. True if its entry has now answered `STRIKES` questions wrongly and should be evicted."""
        self.counts[outcome.label] += 1
        struck = self._keep(outcome)
        self._decide()
        return struck

    def load(self, outcomes: Iterable[Outcome]) -> None:
        """What is known from elsewhere, in place of what was known here."""
        self._outcomes.clear()
        self._bad.clear()
        self._of, self._wrong = [0] * len(self._grid), [0] * len(self._grid)
        for outcome in outcomes:
            self._keep(outcome)
        self._decide()

    def struck(self) -> list[str]:
        """Entries that have answered `STRIKES` questions wrongly."""
        counts = Counter(entry for entry, _ in self._bad)
        return [entry for entry, strikes in counts.items() if strikes >= STRIKES]

    def bad(self, entry: str, question: str) -> bool:
        """Whether this entry is known to answer this question wrongly."""
        return (entry, question) in self._bad

    def stats(self) -> Mapping[str, float]:
        return {
            "outcomes": len(self._outcomes),
            "agreements": self.counts["right"],
            "disagreements": self.counts["wrong"],
            "unclear": self.counts["unclear"],
            "bad_pairs": len(self._bad),
            "wrong_bound": self.bound,
            "serving": float(self.threshold is not None),
            "assumed": float(self.state == "assumed"),
        }

    def _keep(self, outcome: Outcome) -> bool:
        pair = (outcome.entry, outcome.question)
        if outcome.voids:
            self._void(pair)
        self._outcomes.append(outcome)
        self._count(outcome, 1)
        if len(self._outcomes) > WINDOW:
            self._count(self._outcomes.popleft(), -1)
        if not outcome.confirmed or not outcome.entry:
            return False
        if outcome.label == "right":
            self._bad.pop(pair, None)
            return False
        self._bad[pair] = None
        self._bad.move_to_end(pair)
        if len(self._bad) > MOST_PAIRS:
            self._bad.popitem(last=False)
        return sum(entry == outcome.entry for entry, _ in self._bad) >= STRIKES

    def _void(self, pair: tuple[str, str]) -> None:
        for at in range(len(self._outcomes) - 1, -1, -1):
            outcome = self._outcomes[at]
            if (outcome.entry, outcome.question) == pair:
                self._count(outcome, -1)
                del self._outcomes[at]
                return

    def _count(self, outcome: Outcome, by: int) -> None:
        """Below the configured threshold nothing counts: it may have been lower when the outcome was made."""
        for at, cut in enumerate(self._grid):
            if outcome.score >= cut:
                self._of[at] += by
                self._wrong[at] += by * (outcome.label != "right")
                return

    def _decide(self) -> None:
        opened: float | None = None
        of = wrong = 0
        first = max(self._enough, min(self._bearing, sum(self._of)))
        for at, cut in enumerate(self._grid):
            of, wrong = of + self._of[at], wrong + self._wrong[at]
            if of >= first:
                if not self._within(wrong, of):
                    break
                opened = cut
        self.state = "serving" if opened is not None else "shadow"
        if opened is None and self._assumed and not self._disproved():
            opened, self.state = self._grid[-1], "assumed"
        self.threshold = opened

    def _within(self, wrong: int, of: int) -> bool:
        if self._rate >= 1:
            return True
        return wrong <= of * self._rate and surely_within(wrong, of, self._rate)

    def _disproved(self) -> bool:
        """The operator's word holds until the true share is above the limit with 95 % confidence."""
        wrong, of = sum(self._wrong), sum(self._of)
        return wrong > of * self._rate and surely_above(wrong, of, self._rate)
