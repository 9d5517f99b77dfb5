"""What runs side by side: the checks of a request with its routing, and slow checks with the call of the model.

In both a refusal wins, and leaves nothing behind of what ran beside it."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator, Sequence
from typing import Any, TypeVar

from gateway.core.answer import Answer
from gateway.core.ending import end
from gateway.core.events import Blocked, Event
from gateway.core.exchange import Exchange
from gateway.core.facts import Key

T = TypeVar("T")
Deciding = Coroutine[Any, Any, Answer | None]


async def side_by_side(exchange: Exchange, guard: Deciding, route: Callable[[], Deciding]) -> Answer | None:
    """What `guard` decides, else what `route` does. `route` begins when `guard` first has to wait: one that need not is
    simply followed by it, and no task is made."""
    try:
        awaited = guard.send(None)
    except StopIteration as done:
        answer: Answer | None = done.value
        return answer if answer is not None else await route()
    task = asyncio.get_running_loop().create_task(route())
    try:
        answer = await _going_on(guard, awaited)
    except BaseException:
        await _undo(exchange, task)
        raise
    if answer is not None:
        await _undo(exchange, task)
        return answer
    return await task


@types.coroutine
def _going_on(coroutine: Coroutine[Any, Any, T], awaited: Any) -> Generator[Any, Any, T]:
    """Awaits the rest of a coroutine that waits for `awaited`: what `await` does after its first step."""
    while True:
        try:
            sent = yield awaited
        except GeneratorExit:
            coroutine.close()
            raise
        except BaseException as error:
            try:
                awaited = coroutine.throw(error)
            except StopIteration as done:
                value: T = done.value
                return value
        else:
            try:
                awaited = coroutine.send(sent)
            except StopIteration as done:
                value = done.value
                return value


async def _undo(exchange: Exchange, task: asyncio.Task[Answer | None]) -> None:
    """The route that was chosen meanwhile, if it was, is forgotten."""
    await _ended(task)
    exchange.plan = None
    exchange.intent, exchange.intent_score = "", None
    exchange.tier, exchange.tier_score = "", None
    exchange.left_out.clear()


async def _ended(task: asyncio.Task[Any]) -> None:
    """Ends it; how it ended is of no interest any more."""
    task.add_done_callback(lambda task: task.cancelled() or task.exception())
    await end((task,))


async def beside_call(exchange: Exchange, call: Coroutine[Any, Any, T]) -> T | Blocked:
    """What `call` gives, unless the checks beside it refuse first: then it is given up, and the refusal is returned.
    Raises what either raises."""
    verdict = exchange.beside
    if verdict is None:
        return await call
    task = asyncio.get_running_loop().create_task(call)
    try:
        await asyncio.wait((verdict, task), return_when=asyncio.FIRST_COMPLETED)
        refused = await refusal(exchange) if verdict.done() else None
        return await task if refused is None else refused
    finally:
        await _ended(task)


async def refusal(exchange: Exchange) -> Blocked | None:
    """What the checks beside the call say, once they have; None: it may go on. Raises the fault of one that had to look
    and could not. Being cancelled here does not end them: the exchange does."""
    if exchange.beside is None:
        return None
    answer = await asyncio.shield(exchange.beside)
    if answer is None or answer.refusal is None:
        return None
    refused = answer.refusal
    return Blocked(refused.check, refused.category, refused.message)


class Verdict:
    """Transform, the first of all: holds the answer until the checks beside the call have spoken."""

    name = "beside"
    consumes: tuple[Key[Any], ...] = ()
    produces: tuple[Key[Any], ...] = ()

    def open(self, exchange: Exchange) -> Held | None:
        return Held(exchange) if exchange.beside is not None else None


class Held:
    """Session. Keeps the first event; whoever reads the answer waits with it."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._first: Event | None = None
        self._open = False
        self.waiting = False

    def push(self, event: Event) -> Sequence[Event]:
        if self._open:
            return (event,)
        self._first, self.waiting = event, True
        return ()

    def finish(self) -> Sequence[Event]:
        return ()

    async def settle(self) -> Sequence[Event]:
        refused = await refusal(self._exchange)
        first, self._first = self._first, None
        self._open, self.waiting = True, False
        if refused is not None:
            return (refused,)
        return (first,) if first is not None else ()
