"""A second call beside a slow one: the first to give content is the answer, the other is dropped.

The race is over before anything is delivered, so it can never show a client two answers (Dean and Barroso, The Tail at
Scale, 2013). A hedge costs the upstreams real work and often money, and a provider that is slow for everybody must not
get twice the load for it: `Allowance` bounds their share.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.core.ending import end
from gateway.core.errors import Internal
from gateway.pipeline.trial import Trial

SHARE = 0.1
"""Of a model's calls that may be hedged in the long run."""
BURST = 10.0


class Allowance:
    """How many hedges one model may make now."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = BURST

    def called(self) -> None:
        self._left = min(BURST, self._left + SHARE)

    def take(self) -> bool:
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


async def race(first: Trial, after: float, another: Callable[[], Trial | None]) -> Trial:
    """The one of two calls that gives content first, read up to there. Whichever else was made has been recorded.

    `after`: seconds until `another` is asked for the second call; it may give none. Raises the fault of the call that
    failed last, or at once one that another target would only repeat.
    """
    running = {_start(first): first}
    winner: Trial | None = None
    try:
        winner = await _won(running, after, another)
    finally:
        try:
            await _drop(running)
        except asyncio.CancelledError:
            if winner is not None:
                winner.record("cancelled")
                await winner.close()
            raise
    return winner


async def _won(running: dict[asyncio.Task[None], Trial], after: float, another: Callable[[], Trial | None]) -> Trial:
    """Takes the winner out of `running`, and those that failed on the way."""
    wait: float | None = after
    while True:
        done, _ = await asyncio.wait(running, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
        wait = None
        if done:
            winner = _settle(running)
            if winner is not None:
                return winner
        elif (second := another()) is not None:
            running[_start(second)] = second


def _start(trial: Trial) -> asyncio.Task[None]:
    return asyncio.create_task(_run(trial), name="upstream-call")


async def _run(trial: Trial) -> None:
    try:
        await trial.find_content()
    except BaseException:
        await trial.close()
        raise


def _settle(running: dict[asyncio.Task[None], Trial]) -> Trial | None:
    """Takes out the calls that are done: the first with content, or else those that failed."""
    for task in [task for task in running if task.done()]:
        trial = running.pop(task)
        error = task.exception()
        if error is None:
            return trial
        fault = trial.fail(error)
        if not running or isinstance(fault, Internal) or not fault.wire.next_target:
            raise fault
    return None


async def _drop(running: dict[asyncio.Task[None], Trial]) -> None:
    """Cancels what is left and sees it end, also when we are cancelled meanwhile: it ends at once, and then so do we."""
    for trial in running.values():
        trial.record("cancelled")
    try:
        await end(running)
    finally:
        for task, trial in running.items():
            if not task.cancelled() and task.exception() is None:
                await trial.close()
