"""Every named fault of an upstream, through the whole gateway: streamed or not, in each dialect, with and without a spare.

All requests of the matrix go through one gateway on a real socket, many at a time; what each client saw is then held to
`outcomes.py` and to what must be true of every answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from gateway.core.receipt import Receipt
from gateway.faults import FAULTS
from tests.conformance.outcomes import OUTCOMES, Breaks, Ending, Says, Told
from tests.conformance.world import FAULT_OF, PATHS, PATIENCE, STOPS, Saw, gathered, told_as, world
from tests.fixtures.raw_client import Left

SPARE = Says("from spare")
UPSTREAMS_OWN = (
    b"sk-PLANTED-SECRET", b"Incorrect API key", b"You are not allowed", b"current quota", b"Rate limit reached",
    b"The server had an error", b"The engine is down", b"Overloaded", b"upstream timed out", b"nginx", b"<html", b"xxxx",
    b"x-filler", b"preload", b"127.0.0.1", b"SSH-2.0", b"Traceback",
)  # fmt: skip
"""Words of bodies and headers that are the operator's to know and nobody else's."""
REQUESTS = ("upstream_rejected", "context_overflow", "content_refused")
"""Faults that say the request is at fault."""
RECORDED = {"stream_cut": "cut", **dict.fromkeys(REQUESTS, "client_error")}
"""The receipt's outcome by fault; of every other fault of an upstream it is `upstream_error`."""


@dataclass(frozen=True)
class Case:
    fault: str
    dialect: str
    stream: bool
    spare: bool

    @property
    def model(self) -> str:
        return f"{'spared' if self.spare else 'alone'}-{self.fault}"

    @property
    def own(self) -> Ending:
        """What the target itself leads to."""
        outcome = OUTCOMES[self.fault]
        return outcome.streamed if self.stream else outcome.whole

    @property
    def rescued(self) -> bool:
        """Another target lives, nothing was sent, and the request itself is not at fault."""
        own = self.own
        return self.spare and isinstance(own, Told) and own.fault not in REQUESTS

    @property
    def expected(self) -> Ending:
        return SPARE if self.rescued else self.own


CASES = [Case(f, d, s, two) for f in FAULTS for d in PATHS for s in (False, True) for two in (False, True)]


def models() -> dict[str, Any]:
    """For each fault a model that has only it, and one that has a spare."""
    found = {}
    for name in FAULTS:
        alone = {
            "targets": [{"provider": "up", "model": f"fault:{name}"}],
            "timeouts": PATIENCE,
            "retry": {"attempts": 1},
        }
        found[f"alone-{name}"] = alone
        found[f"spared-{name}"] = {**alone, "on_failure": ["spare"]}
    return found


Matrix = list[tuple[Case, Saw, Receipt]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def matrix(tmp_path_factory: pytest.TempPathFactory) -> Matrix:
    """Every case, what its client saw, and its receipt. Nothing may be left running afterwards."""
    async with world(tmp_path_factory.mktemp("matrix"), models()) as w, Left(w):
        saw = await gathered(w.see(case.dialect, case.model, case.stream) for case in CASES)
        receipts = await w.receipts(len(CASES))
        await w.upstream.idle()
    return [(case, one, receipts[one.id]) for case, one in zip(CASES, saw, strict=True)]


def wrong(case: Case, saw: Saw) -> str:
    """What this answer should have been instead, or nothing."""
    match case.expected:
        case Says(text, finish):
            said = STOPS.get(case.dialect, {}).get(finish, finish)
            good = (saw.status, saw.text, saw.error, saw.marks) == (200, text, None, (said, "whole"))
        case Told(fault):
            good = (saw.status, saw.text, saw.marks) == (FAULT_OF[fault].wire.status, "", ()) and names(
                saw, case, fault
            )
        case Breaks(text, fault, more):
            right = saw.text.startswith(text) if more else saw.text == text
            good = (saw.status, right, saw.marks) == (200, True, ()) and names(saw, case, fault)
    return "" if good else f"{case}: expected {str(case.expected)[:99]}, saw {str(saw)[:400]}"


def names(saw: Saw, case: Case, fault: str) -> bool:
    """The error is told as this fault. A rejected request keeps the upstream's own code."""
    if saw.error is None or not saw.error["message"]:
        return False
    told = told_as(case.dialect, FAULT_OF[fault])
    given = (saw.error["type"], str(saw.error.get("code")))[: len(told)]
    return given == told or (fault == "upstream_rejected" and given[0] == told[0])


def test_the_table_knows_every_fault() -> None:
    """A fault that is added needs a decided outcome, and a row needs a fault."""
    assert OUTCOMES.keys() == FAULTS.keys()


@pytest.mark.asyncio(loop_scope="module")
async def test_every_fault_ends_as_the_table_says(matrix: Matrix) -> None:
    """Status, text, error and ending, in each dialect, streamed and not, with and without a spare."""
    found = [problem for case, saw, _ in matrix if (problem := wrong(case, saw))]
    assert not found, "\n".join(found)


@pytest.mark.asyncio(loop_scope="module")
async def test_an_answer_with_an_error_never_looks_whole(matrix: Matrix) -> None:
    """Whatever the table says: where there is an error there is no finish reason and no terminal event, and where there is
    none there is exactly one of each."""
    for case, saw, _ in matrix:
        assert len(saw.marks) == (0 if saw.error else 2), (case, saw.marks, saw.error)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_failing_target_costs_no_request_while_another_lives(matrix: Matrix) -> None:
    """As long as nothing was sent and the request itself is not at fault."""
    rescued = [(case, saw, receipt) for case, saw, receipt in matrix if case.rescued]
    assert len(rescued) > 150
    for case, saw, receipt in rescued:
        assert (saw.status, saw.text, receipt.outcome) == (200, "from spare", "ok"), case
        assert [attempt.why for attempt in receipt.attempts] == ["first", "fallback"], case


@pytest.mark.asyncio(loop_scope="module")
async def test_each_leaves_one_receipt_that_tells_the_same(matrix: Matrix) -> None:
    """The record says what the client saw, and names the fault of each attempt."""
    assert len({receipt.id for _, _, receipt in matrix}) == len(CASES)
    for case, saw, receipt in matrix:
        ending = case.expected
        fault = "" if isinstance(ending, Says) else ending.fault
        outcome = RECORDED.get(fault, "upstream_error") if fault else "ok"
        assert (receipt.outcome, receipt.error, receipt.status) == (outcome, fault, saw.status), (case, receipt)
        own = "ok" if isinstance(case.own, Says) else case.own.fault
        wanted = [own, "ok"] if case.rescued else [own]
        assert [attempt.outcome for attempt in receipt.attempts] == wanted, case


@pytest.mark.asyncio(loop_scope="module")
async def test_nothing_of_the_upstreams_own_reaches_the_client(matrix: Matrix) -> None:
    """Neither a secret nor a word of an error body, of a page, of a header; only what a rejected request is told."""
    for case, saw, _ in matrix:
        if isinstance(case.expected, Says) and case.expected.text.startswith("xxxx"):
            continue
        for words in UPSTREAMS_OWN:
            assert words not in saw.raw, (case, words)
