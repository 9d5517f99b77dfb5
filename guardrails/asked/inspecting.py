"""The second half of the input side: the checks that block or flag, on text that is masked already.

What is quick is looked at here and now, in the order written, and the first block ends it. What must wait (threads, and
whatever is asked outside) waits side by side, and the router works meanwhile. A check that may, goes on while the model is
called: the answer waits for it (`gateway.pipeline.beside`)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from gateway.core.answer import Answer
from gateway.core.errors import CheckFailed
from gateway.core.exchange import Exchange
from gateway.core.facts import Key
from gateway.core.request import Slot
from gateway.core.verdict import Verdict
from guardrails.asked.handing import handed_over
from guardrails.asked.looking import Look, Looked, Work
from guardrails.asked.screen import chosen, judged, left_out, not_scanned, refused
from guardrails.asked.throttling import Throttling

PROBING = 0.6
"""Share of the threshold from which on a text counts as an attempt to get past a check that scores."""


class Inspect:
    """Decider."""

    name = "inspect"
    consumes: tuple[Key[Any], ...] = ()
    produces: tuple[Key[Any], ...] = ()

    def __init__(self, looks: Sequence[Look | Throttling]) -> None:
        self.looks = [look for look in looks if isinstance(look, Look)]
        self.throttles = [look for look in looks if isinstance(look, Throttling)]

    async def decide(self, exchange: Exchange) -> Answer | None:
        said = Said(exchange)
        waiting: list[Work] = []
        later: list[Work] = []
        for throttle in self.throttles:
            throttle.take(exchange)
        try:
            for work in works_of(exchange, self.looks):
                looked = work.look.at_once(work, exchange.remaining())
                if looked is None:
                    (later if work.look.check.beside else waiting).append(work)
                    continue
                answer = said.take(work, looked)
                if answer is not None:
                    return answer
            if later:
                _go_on_beside(exchange, later)
            return await _all(exchange, said, waiting) if waiting else None
        finally:
            said.tell(in_order=not waiting)
            if said.probing:
                for throttle in self.throttles:
                    throttle.again(exchange)


class Said:
    """The verdicts of one round, told in the order in which the checks are written."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._verdicts: list[tuple[int, Verdict]] = []
        self.probing = False
        """Something was scored high enough that it may be an attempt to find out what passes."""

    def take(self, work: Work, looked: Looked) -> Answer | None:
        """Notes the verdict; the refusal, if it is one. Raises CheckFailed if a check that must run could not."""
        exchange, check = self._exchange, work.look.check
        micros = (exchange.clock.now() - work.start) // 1000
        findings, reason = looked
        if findings is None:
            result = not_scanned(check, work.side, reason, micros)
        else:
            result = judged(check, work.side, work.slots, findings, exchange.asked(), micros)
        self._verdicts.append((work.order, result.verdict))
        if result.action == "not_scanned":
            left_out(exchange, check)
        if check.cuts is not None:
            self.probing |= (result.verdict.score or 0.0) >= check.cuts.trusted * PROBING
        if result.action == "handoff":
            return handed_over(exchange, check, result.verdict.reason)
        return refused(check.name, check.category) if result.action == "block" else None

    def tell(self, *, in_order: bool = False) -> None:
        if not in_order:
            self._verdicts.sort(key=lambda pair: pair[0])
        self._exchange.verdicts.extend(verdict for _, verdict in self._verdicts)


def works_of(exchange: Exchange, looks: Sequence[Look]) -> Iterator[Work]:
    """What there is to look at, in the order written. Texts are read when their turn comes: an earlier check may have
    changed them."""
    request = exchange.asked()
    known: dict[object, Sequence[Slot]] = {}
    order = 0
    for look in looks:
        for side, whose in look.sides:
            slots = known.get(whose)
            if slots is None:
                slots = known[whose] = chosen(look.check, side, request)
            if slots:
                order += 1
                yield Work(look, order, side, slots, exchange)


async def _all(exchange: Exchange, said: Said, works: Sequence[Work]) -> Answer | None:
    """Side by side. The first refusal ends it, and wins over a check that failed at the same moment; the others are
    given up."""
    if len(works) == 1:
        return said.take(works[0], await works[0].look.wait(exchange, works[0]))
    running = {asyncio.ensure_future(work.look.wait(exchange, work)): work for work in works}
    pending = set(running)
    try:
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            fault: CheckFailed | None = None
            for job in sorted(done, key=lambda job: running[job].order):
                try:
                    answer = said.take(running[job], job.result())
                except CheckFailed as failed:
                    fault = fault or failed
                    continue
                if answer is not None:
                    return answer
            if fault is not None:
                raise fault
    finally:
        for job in pending:
            job.cancel()
    return None


def _go_on_beside(exchange: Exchange, works: Sequence[Work]) -> None:
    """Starts what goes on while the model is called. It ends with the exchange at the latest."""
    task = exchange.beside = asyncio.get_running_loop().create_task(_beside(exchange, works))
    task.add_done_callback(lambda task: task.cancelled() or task.exception())  # whoever still waits for it is told
    exchange.cleanup.append(partial(_give_up, task))


def _give_up(task: asyncio.Task[Answer | None]) -> None:
    task.cancel()


async def _beside(exchange: Exchange, works: Sequence[Work]) -> Answer | None:
    said = Said(exchange)
    try:
        return await _all(exchange, said, works)
    finally:
        said.tell()
