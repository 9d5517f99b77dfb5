"""Every named fault of an upstream, told to a streaming client that has had a sign of life: status 200 is out by then, and
still nothing looks whole that is not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.outcomes import Breaks, Says, Told
from tests.conformance.test_fault_matrix import CASES, Case, models, wrong
from tests.conformance.world import FAULT_OF, Saw, gathered, told_as, world
from tests.fixtures.raw_client import Left


def kept_alive() -> dict[str, Any]:
    """The matrix's models, with little patience: each sign is work, and the faults' own clocks go on meanwhile."""
    return {name: {**model, "keepalive": "5ms"} for name, model in models().items()}


def wrong_with_signs(case: Case, saw: Saw) -> str:
    """As `wrong`, where headers were out before the fault was known."""
    expected = case.expected
    if isinstance(expected, Says):
        return wrong(case, saw)
    assert isinstance(expected, Told | Breaks)
    told = told_as(case.dialect, FAULT_OF[expected.fault])
    same = saw.error is not None and bool(saw.error["message"]) and saw.error["type"] == told[0]
    good = (saw.status, saw.marks) == (200, ()) and same
    return "" if good else f"{case}: expected {expected}, saw {str(saw)[:400]}"


@pytest.mark.asyncio(loop_scope="function")
async def test_with_signs_of_life_every_fault_ends_in_the_stream(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The error that the table names, and no end mark; a spare answers as it would have. Where no sign was due yet, the
    table holds as it stands."""
    cases = [case for case in CASES if case.stream]
    async with world(tmp_path_factory.mktemp("alive"), kept_alive()) as w, Left(w):
        saw = await gathered((w.see(case.dialect, case.model, True) for case in cases), most=16)
        receipts = await w.receipts(len(cases))
        await w.upstream.idle()
    signed = 0
    found = []
    for case, one in zip(cases, saw, strict=True):
        receipt = receipts[one.id]
        signed += bool(receipt.beats)
        problem = wrong_with_signs(case, one) if receipt.beats else wrong(case, one)
        found += [problem] if problem else []
        assert receipt.status == one.status, case
        assert (receipt.outcome == "ok") == (one.error is None), (case, receipt)
    assert not found, "\n".join(found)
    assert signed > len(cases) / 20
