"""Signs of life for a streaming client that waits, because hops on the way drop connections on which nothing comes.

A sign commits the client to status 200 and to a stream, and to nothing else: no word of an answer is out, so another
target may still be asked. What fails from then on is told in the stream.

Costs a timer while nothing is due, and a task only for a sign that is. Whoever writes to the client holds the signs
back meanwhile, so that the two never write at once.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from gateway.core.exchange import Exchange

OPERATIONS = frozenset({"chat", "completions"})


class Waiting(Protocol):
    """The client's end of a connection on which nothing may come for a while."""

    async def beat(self, data: bytes) -> None:
        """Sends a sign of life in an event stream, headers first if they are not out: only what is settled is told in
        them, and who answers is not."""
        ...


class Keepalive:
    """One exchange's. Begins at once; `end` or `abandon` ends it."""

    __slots__ = ("_beat", "_client", "_exchange", "_holding", "_last", "_loop", "_over", "_task", "_timer", "seconds")

    def __init__(self, exchange: Exchange, client: Waiting, beat: bytes, seconds: float) -> None:
        """`beat`: what is sent. `seconds`: of silence before it, counted from the exchange's own beginning."""
        self._exchange = exchange
        self._client = client
        self._beat = beat
        self.seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._last = self._loop.time() - exchange.elapsed() / 1e9
        self._holding = self._over = False
        self._task: asyncio.Task[None] | None = None
        self._timer = self._wait()

    def hold(self) -> bool:
        """Before anything is written. True: a sign is under way and goes first; await `settled`."""
        self._holding = True
        return self._task is not None

    def resume(self) -> None:
        """After it."""
        self._holding = False
        self._last = self._loop.time()

    def every(self, seconds: float) -> None:
        """From here on after so much silence; 0: never."""
        self.seconds = seconds
        self._timer.cancel()
        if not seconds:
            self._over = True
        elif self._task is None and not self._over:
            self._timer = self._wait()

    async def end(self) -> None:
        """For good, before the last words."""
        self.stop()
        await self.settled()

    def abandon(self) -> None:
        """For good, whatever is under way."""
        self.stop()
        if self._task is not None:
            self._task.cancel()

    def stop(self) -> None:
        """For good; one that is under way goes on to its end."""
        self._over = True
        self._timer.cancel()

    async def settled(self) -> None:
        """No sign is under way. Being cancelled here does not end the sign: half of it may be out."""
        if self._task is not None:
            await asyncio.wait((self._task,))

    def _wait(self) -> asyncio.TimerHandle:
        return self._loop.call_at(self._last + self.seconds, self._due)

    def _due(self) -> None:
        if self._holding:  # what is written now is a sign of life itself
            self._last = self._loop.time()
        if self._loop.time() < self._last + self.seconds:
            self._timer = self._wait()
        else:
            self._task = self._loop.create_task(self._send())
            self._task.add_done_callback(_heard)

    async def _send(self) -> None:
        try:
            if not (self._holding or self._over):
                await self._client.beat(self._beat)
                self._exchange.beats += 1
        finally:
            self._task = None
            self._last = self._loop.time()
            if not self._over:
                self._timer = self._wait()


def kept_alive(exchange: Exchange, client: Waiting, beat: bytes, seconds: float) -> Keepalive | None:
    """For a client that waits for a stream; None where nothing may be sent. `seconds`: 0 is never."""
    if not (beat and seconds and exchange.operation in OPERATIONS and exchange.asked().stream):
        return None
    alive = Keepalive(exchange, client, beat, seconds)
    exchange.cleanup.append(alive.abandon)
    return alive


def _heard(task: asyncio.Task[None]) -> None:
    """A client that cannot be written to shows when it is written to next."""
    _ = task.cancelled() or task.exception()
