"""The second half of the input side: the checks that block or flag, on text that is masked already.

What is quick is looked at here and now, in the order written, and the first block ends it. What must wait (threads, and
whatever is asked outside) waits side by side, and the router works meanwhile. A check that may, goes on while the model is
called: the answer waits for it (`gateway.pipeline.beside`)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Any, NamedTuple

from gateway.core.answer import Answer
from gateway.core.clock import Clock
from gateway.core.errors import CheckFailed
from gateway.core.exchange import Exchange
from gateway.core.facts import Key
from gateway.core.request import Slot
from gateway.core.verdict import Side, Verdict
from guardrails.looking import Look, Looked, Work
from guardrails.screen import InputCheck, chosen, failed_closed, judged, not_scanned, refused
from guardrails.vault import blanked

SIDES: tuple[Side, ...] = ("input", "retrieved")


class Part(NamedTuple):
    """One check on one side of one request. `order` is its place among all."""

    order: int
    look: Look
    side: Side
    slots: Sequence[Slot]
    work: Work
    start: int


class Inspect:
    """Decider."""

    name = "inspect"
    consumes: tuple[Key[Any], ...] = ()
    produces: tuple[Key[Any], ...] = ()

    def __init__(self, checks: Sequence[InputCheck], pool: Executor, clock: Clock) -> None:
        self.looks = [Look(check, pool, clock) for check in checks]

    async def decide(self, exchange: Exchange) -> Answer | None:
        said = Said(exchange)
        waiting: list[Part] = []
        later: list[Part] = []
        try:
            for part in parts_of(exchange, self.looks):
                looked = part.look.at_once(part.work, exchange.remaining())
                if looked is None:
                    (later if part.look.check.beside else waiting).append(part)
                    continue
                answer = said.take(part, looked)
                if answer is not None:
                    return answer
            if later:
                _go_on_beside(exchange, later)
            return await _all(exchange, said, waiting) if waiting else None
        finally:
            said.tell()


class Said:
    """The verdicts of one round, told in the order in which the checks are written."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._turn = exchange.asked().latest_user_turn
        self._verdicts: list[tuple[int, Verdict]] = []

    def take(self, part: Part, looked: Looked) -> Answer | None:
        """Notes the verdict; the refusal, if it is one. Raises CheckFailed if a check that must run could not."""
        exchange, check = self._exchange, part.look.check
        micros = (exchange.clock.now() - part.start) // 1000
        findings, reason = looked
        if findings is None:
            self._verdicts.append((part.order, not_scanned(exchange, check, part.side, reason, micros)))
            if check.closed:
                raise failed_closed(check)
            return None
        result = judged(check, part.side, part.slots, findings, self._turn, micros)
        self._verdicts.append((part.order, result.verdict))
        return refused(check.name, check.category) if result.action == "block" else None

    def tell(self) -> None:
        self._verdicts.sort(key=lambda pair: pair[0])
        self._exchange.verdicts.extend(verdict for _, verdict in self._verdicts)


def parts_of(exchange: Exchange, looks: Sequence[Look]) -> Iterator[Part]:
    """What there is to look at, in the order written. Texts are read when their turn comes: an earlier check may have
    changed them."""
    request = exchange.asked()
    for at, look in enumerate(looks):
        for second, side in enumerate(SIDES):
            slots = chosen(look.check, side, request) if side in look.check.sides else ()
            if slots:
                texts = [blanked(slot.text) if slot.kind == "tool_arguments" else slot.text for slot in slots]
                yield Part(2 * at + second, look, side, slots, look.work(texts), exchange.clock.now())


async def _all(exchange: Exchange, said: Said, parts: Sequence[Part]) -> Answer | None:
    """Side by side. The first refusal ends it, and wins over a check that failed at the same moment; the others are
    given up."""
    if len(parts) == 1:
        return said.take(parts[0], await parts[0].look.wait(exchange, parts[0].work))
    running = {asyncio.ensure_future(part.look.wait(exchange, part.work)): part for part in parts}
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


def _go_on_beside(exchange: Exchange, parts: Sequence[Part]) -> None:
    """Starts what goes on while the model is called. It ends with the exchange at the latest."""
    task = exchange.beside = asyncio.get_running_loop().create_task(_beside(exchange, parts))
    task.add_done_callback(lambda task: task.cancelled() or task.exception())  # whoever still waits for it is told
    exchange.cleanup.append(partial(_give_up, task))


def _give_up(task: asyncio.Task[Answer | None]) -> None:
    task.cancel()


async def _beside(exchange: Exchange, parts: Sequence[Part]) -> Answer | None:
    said = Said(exchange)
    try:
        return await _all(exchange, said, parts)
    finally:
        said.tell()
