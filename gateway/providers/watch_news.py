"""Carries what the gateways in front of the same pools tell each other, over any board that all of them can read."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from typing import Protocol

import msgspec

from gateway.pools.endpoints import Endpoints
from gateway.pools.sharing import EVERY, News
from gateway.providers.watch_endpoint import jittered

PAUSE = 1.0
"""Seconds until the next try when the board cannot be reached."""
MOST_BYTES = 1 << 20
"""Of one message; a larger one is not read."""

Told = list[tuple[str, News]]
"""By the provider's name."""


class Board(Protocol):
    """Raises whatever its library raises when it is out of reach; it has time-outs of its own."""

    async def put(self, message: bytes) -> None: ...

    async def begin(self) -> None:
        """From now on `read` gives what comes after."""
        ...

    async def read(self) -> tuple[list[bytes], bool]:
        """(messages since the last time, whether some were lost)"""
        ...


class Courier:
    """Between `start` and `stop` it tells and reads, many times a second. Without a board that answers every gateway goes
    by its own counts, as it would alone."""

    def __init__(self, pools: Mapping[str, Endpoints], board: Board) -> None:
        by = secrets.randbits(63)
        self._pools = {name: endpoints for name, endpoints in pools.items() if endpoints.share(by)}
        self._board = board
        self._begun = False
        self._task: asyncio.Task[None] | None = None
        self._decoder = msgspec.msgpack.Decoder(Told)
        self.failed = 0
        """Times that the board could not be reached, or said what nobody understands."""

    def start(self) -> None:
        if self._pools:
            self._task = asyncio.create_task(self._run(), name="pool news")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def once(self) -> bool:
        """Tells what there is to tell and hears the others. False when the board cannot be reached."""
        told = [(name, news) for name, pool in self._pools.items() if (news := pool.news()) is not None]
        try:
            if not self._begun:
                await self._board.begin()
                self._begun = True
            if told:
                await self._board.put(msgspec.msgpack.encode(told))
            messages, _ = await self._board.read()
        except Exception:  # whatever its library raises: refused, reset, slow, loading
            self.failed += 1
            return False
        for message in messages:
            self._hear(message)
        return True

    def _hear(self, message: bytes) -> None:
        try:
            told = self._decoder.decode(message) if len(message) <= MOST_BYTES else []
        except msgspec.DecodeError:  # of another version, or not ours
            self.failed += 1
            return
        for name, news in told:
            pool = self._pools.get(name)
            if pool is not None:
                pool.hear(news)

    async def _run(self) -> None:
        while True:
            reached = await self.once()
            await asyncio.sleep(jittered(EVERY if reached else PAUSE))
