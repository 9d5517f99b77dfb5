from __future__ import annotations

from collections.abc import Mapping

import pytest

from cache.shared import Asked, Elsewhere, Held
from cache.stores import StoreDown


class Script:
    """Leases that answer as told, the last answer for ever."""

    def __init__(self, *answers: Asked | StoreDown) -> None:
        self._answers = list(answers)
        self.questions = 0

    async def ask(self, id: str) -> Asked:
        self.questions += 1
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, StoreDown):
            raise answer
        return answer

    def holds(self, id: str) -> bool:
        return False

    def end(self, id: str, *, failures: int = 0, unshared: bool = False) -> None: ...

    async def close(self) -> None: ...

    def stats(self) -> Mapping[str, float]:
        return {}


SLOW, OPEN, LEASE = StoreDown("timeout"), StoreDown("breaker_open"), Held("t", 0)


@pytest.mark.parametrize(
    ("answers", "told", "counted"),
    [
        ([LEASE], ("lead", ""), {"led": 1}),
        ([b"entry"], (b"entry", ""), {"served": 1}),
        (["held", "held", b"entry"], (b"entry", ""), {"followed": 1, "served": 1}),
        (["held", LEASE], ("lead", ""), {"followed": 1, "promoted": 1}),
        (["held", "alone"], ("alone", ""), {"followed": 1, "alone": 1}),
        ([SLOW, LEASE], ("lead", "timeout"), {"unreached": 1}),
        (["held", SLOW, SLOW, b"entry"], (b"entry", ""), {"followed": 1, "served": 1}),
        (["held", SLOW, SLOW, SLOW, b"entry"], ("lead", "timeout"), {"followed": 1, "unreached": 1}),
        (["held", OPEN, b"entry"], ("lead", "breaker_open"), {"followed": 1, "unreached": 1}),
    ],
)
async def test_each_course_of_events_has_its_end(
    answers: list[Asked | StoreDown], told: tuple[object, str], counted: dict[str, int]
) -> None:
    """Lead, be served, be promoted, go alone: as the store says. One late reply ends no wait, three do, an open breaker does
    at once, and a first question that is not answered is not repeated."""
    elsewhere = Elsewhere(Script(*answers))
    assert await elsewhere.lead("e-1", 30.0) == told
    assert {name: count for name, count in elsewhere.counts.items() if count} == counted


async def test_patience_ends() -> None:
    """A lease that is never given back costs the waiter its patience and no more; the questions come ever more slowly."""
    leases = Script("held")
    elsewhere = Elsewhere(leases)
    assert await elsewhere.lead("e-1", 0.3) == ("lead", "")
    assert elsewhere.counts["waited_out"] == 1
    assert 3 <= leases.questions <= 14
