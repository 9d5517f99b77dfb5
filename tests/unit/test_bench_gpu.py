"""The bench in front of engines: what it counts, and how it says it. The engines themselves are tried by hand, they are large."""

from __future__ import annotations

import asyncio
import sys

import httpx
import pytest

from bench.gpu.__main__ import about, main
from bench.gpu.calls import SLO_FIRST, SLO_TOKEN, Call, ask, body, figures
from bench.gpu.leaving import Left
from bench.gpu.report import Measured, text
from bench.peers import Unavailable

STREAM = (
    b'data: {"choices": [{"delta": {"role": "assistant"}}]}\n\n'
    b'data: {"choices": [{"delta": {"content": "one "}}]}\n\ndata: {"choices": [{"delta": {"content": "two"}}]}\n\n'
    b'data: {"choices": [], "usage": {"completion_tokens": 2}}\n\ndata: [DONE]\n\n'
)


def called(status: int, data: bytes) -> Call:
    async def go() -> Call:
        async with httpx.AsyncClient(
            transport=httpx.MockTransport(lambda _: httpx.Response(status, content=data))
        ) as c:
            return await ask(c, "http://engine/v1", body("m", "hello", 2))

    return asyncio.run(go())


def test_a_token_is_what_says_something() -> None:
    """Roles, usage and the end are no tokens; an answer without any, or with another status, is a failed one."""
    assert len(called(200, STREAM).times) == 2
    assert called(200, b"data: [DONE]\n\n").problem == "no text"
    assert called(503, b"").problem == "status 503"


def test_good_is_soon_and_steady() -> None:
    """A late beginning and slow tokens are both bad, and so is what failed."""
    good = Call(times=[SLO_FIRST, SLO_FIRST + 0.9 * SLO_TOKEN])
    late, slow = Call(times=[SLO_FIRST + 0.1, SLO_FIRST + 0.11]), Call(times=[0.1, 0.1 + 2 * SLO_TOKEN])
    found = figures([good, late, slow, Call(problem="ReadTimeout")], seconds=2.0)
    assert (found.calls, found.failed, found.goodput) == (4, 1, 0.25)
    assert found.rate == 3.0
    assert found.first[0] == SLO_FIRST
    with pytest.raises(ValueError, match="no values"):
        figures([Call(problem="ReadTimeout")], seconds=1.0)


def test_what_is_added_is_a_difference_in_one_run() -> None:
    direct, ours = figures([Call(times=[0.1, 0.12])], 1.0), figures([Call(times=[0.103, 0.124])], 1.0)
    alone = {"direct, in turn": direct, "Tidegate, least_inflight": ours}
    said = text(
        "head", Measured(alone=alone, micros_per_token=140.0, left={"direct": Left(whole=9.0, busy=0.2)}, loaded={})
    )
    assert "3.00 ms" in said
    assert "1.000 ms" in said
    assert "140 µs" in said


def test_without_a_gpu_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """An interpreter without torch is named with what to do; nothing is measured, and nothing is written."""
    with pytest.raises(Unavailable, match="say --python"):
        about(sys.executable, "cuda")
    assert main(["--python", sys.executable]) == 1
    assert "not measured" in capsys.readouterr().err
