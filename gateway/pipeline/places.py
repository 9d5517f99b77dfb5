"""A model's places: how many requests may be under way there, and the queue before them.

Higher priorities go first; inside one, tenants take turns (`fairness`). The queue has a bound: when it is full, whoever
has the lowest priority makes room or is not let in. Waiting has an end: the queue's own, the request's deadline, or the
client's leaving. All of it is this process's alone.

Whoever cannot have a place gets `Overloaded`, which lets dispatch ask the next model of the plan.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from gateway.core.clock import Clock
from gateway.core.errors import Overloaded
from gateway.core.exchange import Exchange
from gateway.core.plan import ModelPlan
from gateway.core.priority import PRIORITIES
from gateway.core.receipt import Stage
from gateway.core.tokens import LATIN_PER_TOKEN
from gateway.pipeline.fairness import ANSWER_WEIGHT, Turns, Waiter

STAGE = "queue"
_SHARE = 0.2
"""Of the newest stay in the mean of them."""


class Place:
    """One request's, until `leave`."""

    __slots__ = ("_before", "_exchange", "_gate", "_since")

    def __init__(self, gate: Gate, exchange: Exchange) -> None:
        self._gate = gate
        self._exchange = exchange
        self._since = exchange.clock.now()
        self._before = len(exchange.attempts)

    def leave(self) -> None:
        """Once. The place goes to whoever is next."""
        exchange = self._exchange
        used = [attempt.usage for attempt in exchange.attempts[self._before :] if attempt.usage is not None]
        answered = sum(usage.output_tokens for usage in used)
        self._gate.left(exchange, answered, (exchange.clock.now() - self._since) / 1e9)


class Gate:
    """The places of one model, and who waits for one."""

    def __init__(self, model: ModelPlan, clock: Clock) -> None:
        assert model.concurrency is not None, "a model without a bound has no places"
        self._alias = model.alias
        self._places = model.concurrency
        self._most = model.queue.most
        self._ttl = model.queue.ttl
        self._clock = clock
        self._turns = tuple(Turns() for _ in PRIORITIES)
        self._stay = 0.0
        """Mean seconds that a place was held."""
        self.running = 0
        self.waiting = 0
        self.refused: dict[str, int] = {"full": 0, "shed": 0, "late": 0}
        """Since the start: not let in, made room for another, waited too long."""

    async def enter(self, exchange: Exchange) -> Place:
        """Raises Overloaded when there is no place, and none in time."""
        tokens = sum([len(slot.text) for slot in exchange.asked().slots]) / LATIN_PER_TOKEN
        if self.running < self._places:
            self.running += 1
            self._turns[exchange.priority].charge(exchange.principal.tenant, tokens)
        else:
            await self._queued(exchange, Waiter(exchange.principal.tenant, exchange.priority, tokens))
        return Place(self, exchange)

    async def _queued(self, exchange: Exchange, waiter: Waiter) -> None:
        start = exchange.elapsed()
        outcome = "cancelled"
        try:
            self._let_in(waiter)
            await self._wait(waiter)
            outcome = "ok"
        except Overloaded as full:
            outcome = full.why
            self.refused[full.why] += 1
            raise
        finally:
            end = exchange.elapsed()
            exchange.timeline.append(Stage(STAGE, start, end, outcome))
            exchange.queued += end - start
            exchange.waited += end - start

    def _let_in(self, waiter: Waiter) -> None:
        if self.waiting >= self._most:
            lowest = next((turns for turns in self._turns[: waiter.rank] if turns), None)
            if lowest is None:
                raise self._overloaded("full", f"is full ({self._most} wait)")
            victim = lowest.last()
            self._give_up(victim)
            if not victim.turn.done():
                victim.turn.set_result(False)
        self._turns[waiter.rank].put(waiter)
        self.waiting += 1

    async def _wait(self, waiter: Waiter) -> None:
        turn = waiter.turn
        try:
            async with asyncio.timeout(self._ttl):
                await turn
        except TimeoutError:
            if not _granted(turn):
                self._give_up(waiter)
                raise self._overloaded("late", f"was waited in for {self._ttl:g} s") from None
        except asyncio.CancelledError:
            if _granted(turn):  # in the same moment: it goes to the next
                self._pass_on()
            else:
                self._give_up(waiter)
            raise
        if not _granted(turn):
            raise self._overloaded("shed", "is full of requests that go first")

    def _give_up(self, waiter: Waiter) -> None:
        """Takes it out, if it is still in: whose turn it was, or who made room, in the same moment is not."""
        if self._turns[waiter.rank].remove(waiter):
            self.waiting -= 1

    def left(self, exchange: Exchange, answered: int, seconds: float) -> None:
        """A place is free. `answered`: tokens of the answer; `seconds`: how long the place was held."""
        self._stay += (_SHARE if self._stay else 1.0) * (seconds - self._stay)
        self._turns[exchange.priority].charge(exchange.principal.tenant, ANSWER_WEIGHT * answered)
        self._pass_on()

    def _pass_on(self) -> None:
        for turns in reversed(self._turns):
            while turns:
                waiter = turns.next()
                self.waiting -= 1
                if not waiter.turn.done():  # else it is being cancelled
                    turns.charge(waiter.tenant, waiter.tokens)
                    waiter.turn.set_result(True)
                    return
        self.running -= 1

    def _overloaded(self, why: str, told: str) -> Overloaded:
        wait = max(1.0, self._stay * (self.waiting + 1) / self._places)
        return Overloaded(f"The queue of the model {self._alias!r} {told}; try again later.", why=why, retry_after=wait)


def _granted(turn: asyncio.Future[bool]) -> bool:
    return turn.done() and not turn.cancelled() and turn.result()


class Gates:
    """Those of all models that have a bound, each made when it is first needed."""

    def __init__(self) -> None:
        self._gates: dict[str, Gate] = {}

    def of(self, model: ModelPlan, clock: Clock) -> Gate:
        gate = self._gates.get(model.alias)
        if gate is None:
            gate = self._gates[model.alias] = Gate(model, clock)
        return gate

    def all(self) -> Mapping[str, Gate]:
        return self._gates
