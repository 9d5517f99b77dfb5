"""The race of two calls, whatever they do and whenever the exchange is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Literal

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.clock import SystemClock
from gateway.core.errors import GatewayFault, Internal, UpstreamFailed, UpstreamRejected
from gateway.core.events import Failed, Frame, Started, Text
from gateway.core.exchange import Exchange, Trace
from gateway.core.plan import ModelPlan, Target, Timeouts
from gateway.core.request import Request
from gateway.dialects.openai_read import read
from gateway.pipeline.hedge import race
from gateway.pipeline.trial import Trial

End = Literal["content", "refuse", "fail", "bug", "failed event", "cut", "hang"]
ENDS: tuple[End, ...] = ("content", "refuse", "fail", "bug", "failed event", "cut", "hang")
TARGET = Target(provider="p", model="m")
PLAN = ModelPlan(alias="m", targets=(TARGET,))


class Script:
    """An upstream that waits some turns of the loop before it opens, gives empty beginnings, and ends as told."""

    name = "scripted"
    trusted = False

    def __init__(self, wait: int, heads: int, end: End) -> None:
        self.wait, self.heads, self.end = wait, heads, end
        self.opened = self.closed = 0
        self.endpoint, self.status, self.upstream_id = "h:1", 200, ""

    async def open(
        self,
        request: Request,
        target: Target,
        timeouts: Timeouts,
        *,
        traceparent: str,
        headers: Mapping[str, str],
        affinity: str = "",
        tenant: str = "",
        turn: int = 0,
        chose: Callable[[str, str], None] = lambda _label, _why: None,
    ) -> Script:
        chose("h:1", "")
        await self._turns()
        if self.end == "refuse":
            raise UpstreamRejected("no")
        self.opened += 1
        return self

    def frames(self) -> AsyncIterator[Sequence[Frame]]:
        return self

    def __aiter__(self) -> AsyncIterator[Sequence[Frame]]:
        return self

    async def __anext__(self) -> Sequence[Frame]:
        if self.heads:
            self.heads -= 1
            await self._turns()
            return [Frame((Started("id", "m", 0), Text("")))]
        match self.end:
            case "hang":
                await asyncio.Event().wait()
            case "fail":
                raise UpstreamFailed("broken")
            case "bug":
                raise KeyError("ours")
            case "failed event":
                return [Frame((Failed(UpstreamFailed("said so")),))]
            case "content":
                return [Frame((Text("hello"),))]
        raise StopAsyncIteration

    async def close(self) -> None:
        self.closed += 1

    async def _turns(self) -> None:
        for _ in range(self.wait):
            await asyncio.sleep(0)


async def no_body() -> bytes:
    return b""


def exchange() -> Exchange:
    made = Exchange(
        id="x-1", dialect="openai", operation="chat", headers={}, credential=None, read_body=no_body,
        clock=SystemClock(), trace=Trace("0" * 32, "0" * 16), timeout=60.0,
    )  # fmt: skip
    made.request = read("chat", {"model": "m", "messages": [{"role": "user", "content": "hi"}]})
    return made


scripts = st.builds(Script, st.integers(0, 5), st.integers(0, 3), st.sampled_from(ENDS))


@settings(max_examples=300, deadline=None)
@given(scripts, st.none() | scripts, st.integers(1, 30))
def test_a_race_leaves_nothing_behind(first: Script, second: Script | None, patience: int) -> None:
    """However it ends, each call has one entry but the winner, each opened reply is closed but the winner's, and no task
    goes on."""
    asyncio.run(run(first, second, patience))


async def run(first: Script, second: Script | None, patience: int) -> None:
    made = exchange()
    trials = [trial_of(made, first, "first")]

    def another() -> Trial | None:
        if second is None:
            return None
        trials.append(trial_of(made, second, "hedge"))
        return trials[-1]

    task = asyncio.create_task(race(trials[0], 0.0, another))
    for _ in range(patience):
        await asyncio.sleep(0)
    task.cancel()
    winner: Trial | None = None
    fault: GatewayFault | None = None
    try:
        winner = await task
    except asyncio.CancelledError:
        pass
    except GatewayFault as raised:
        fault = raised
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert [trial.recorded for trial in trials] == [trial is not winner for trial in trials]
    assert len(made.attempts) == len(trials) - (winner is not None)
    assert all(attempt.endpoint in ("h:1", "") for attempt in made.attempts)
    used = [script for script in (first, second) if script is not None][: len(trials)]
    for trial, script in zip(trials, used, strict=True):
        assert bool(script.closed) == (bool(script.opened) and trial is not winner)
        if trial is winner:
            assert script.end == "content"
            assert trial.lead[-1][-1].events == (Text("hello"),)
    if isinstance(fault, Internal):
        assert "bug" in {script.end for script in used}
    elif fault is not None:
        assert {script.end for script in used} & {"refuse", "fail", "failed event", "cut"}


def trial_of(made: Exchange, script: Script, why: str) -> Trial:
    def cost(_usage: Any, _target: Any) -> None:
        return None

    return Trial(made, PLAN, TARGET, script, why, "", cost, 0)
