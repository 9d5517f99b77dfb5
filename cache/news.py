"""What one process tells the others that share its Redis: purges, evictions, a person's verdicts.

Stores that all share need no news. But what is in a process's own memory (vectors without a Qdrant server, a near tier,
which would-be hits it has seen) only that process can forget or judge. News go through a short stream that each process
reads about once a second over the connection it has: nothing is missed while Redis is away, and a process that may have
missed some forgets all that it alone holds.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Literal, Protocol

import msgspec

from cache.stores import StoreDown, Which

EVERY = 1.0
"""Seconds between two looks."""
_MOST_BYTES = 4096
_REFUSALS = frozenset({"ERR", "NOPERM", "WRONGTYPE"})
"""Of a Redis that has no streams, or none for us: asking on would only open the breaker for the caches too."""
_MOST_REFUSED = 2


class Told(msgspec.Struct, frozen=True, array_like=True):
    """One piece of news. `by`: the process that tells; `what` says which fields mean something."""

    by: str
    what: Literal["purge", "evict", "verdict", "judged"]
    owner: str | None = None
    """purge, judged: whose store."""
    id: str = ""
    """evict, verdict: the entry, or the exchange."""
    right: bool = False
    tag: str | None = None
    tenant: str | None = None
    older_than: float | None = None

    @property
    def which(self) -> Which:
        return Which(tag=self.tag, tenant=self.tenant, older_than=self.older_than)


class Board(Protocol):
    """Where news are put up. All may raise `StoreDown`."""

    async def put(self, message: bytes) -> None: ...

    async def begin(self) -> None:
        """From here on `read` gives what is new."""
        ...

    async def read(self) -> tuple[list[bytes], bool]:
        """What is new since the last time, oldest first; and whether something may have been missed."""
        ...


class News:
    """One process's ear and voice."""

    def __init__(self, board: Board, heard: Callable[[Told | None], Awaitable[None]]) -> None:
        """`heard` is called with each piece of news of another process; with None where some may have been missed."""
        self._board = board
        self._heard = heard
        self._by = secrets.token_hex(6)
        self._begun = self._late = False
        self._refused = 0
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self.hear()
        self._task = asyncio.create_task(self._listen(), name="cache-news")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def tell(self, what: Literal["purge", "evict", "verdict", "judged"], **fields: object) -> bool:
        """Whether it is up: the others will hear of it."""
        message = msgspec.msgpack.encode(Told(self._by, what, **fields))  # type: ignore[arg-type]
        if len(message) > _MOST_BYTES:
            return False
        try:
            await self._board.put(message)
        except StoreDown:
            return False
        return True

    async def hear(self) -> None:
        """One look. A board that is out of reach is looked at again the next time."""
        late = self._late
        self._late = True
        try:
            if not self._begun:
                await self._board.begin()
                self._begun = True
                if late:  # what was up before is not known
                    await self._heard(None)
            messages, missed = await self._board.read()
        except StoreDown as down:
            self._refused = self._refused + 1 if down.why in _REFUSALS else 0
            return
        self._refused = 0
        if missed:
            await self._heard(None)
        for message in messages:
            try:
                told = msgspec.msgpack.decode(message, type=Told)
            except msgspec.MsgspecError:
                continue  # of another version
            if told.by != self._by:
                await self._heard(told)

    async def _listen(self) -> None:
        while self._refused < _MOST_REFUSED:
            await asyncio.sleep(EVERY)
            await self.hear()
