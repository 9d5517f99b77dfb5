"""Cache writes, off the request path: a bounded queue and one worker, drained on shutdown.

A full queue drops the write and counts it: an answer that is not cached costs one more model call, a queue that grows
costs the process.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping

Job = Callable[[], Awaitable[None]]

_TOGETHER = 32
"""Writes under way at one time; a pipelined store sends them in one piece."""


class Writer:
    """`offer` never waits and never fails. Every accepted job ends up in `written` or `failed`, or, if the drain's
    time runs out, in `dropped`."""

    def __init__(self, *, bound: int = 1024, max_bytes: int = 32 * 1024 * 1024) -> None:
        self._bound = bound
        self._max_bytes = max_bytes
        self._queue: deque[tuple[int, Job]] = deque()
        self._bytes = 0
        self._running = 0
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._task: asyncio.Task[None] | None = None
        self.written = 0
        self.failed = 0
        self.dropped = 0

    async def start(self) -> None:
        self._task = asyncio.create_task(self._work(), name="cache-writer")

    def offer(self, size: int, job: Job) -> bool:
        """Queues `job`, which holds about `size` bytes. False if it was dropped."""
        if len(self._queue) >= self._bound or self._bytes + size > self._max_bytes:
            self.dropped += 1
            return False
        self._queue.append((size, job))
        self._bytes += size
        self._idle.clear()
        self._wake.set()
        return True

    async def drained(self) -> None:
        """Returns when nothing is queued or under way."""
        await self._idle.wait()

    async def close(self, limit: float = 5.0) -> None:
        """Writes what is queued, for at most `limit` seconds."""
        if self._task is None:
            return
        try:
            async with asyncio.timeout(limit):
                await self.drained()
        except TimeoutError:
            self.dropped += len(self._queue) + self._running
        self._queue.clear()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._task = None

    def stats(self) -> Mapping[str, float]:
        return {
            "queued": len(self._queue),
            "queued_bytes": self._bytes,
            "written": self.written,
            "failed": self.failed,
            "dropped": self.dropped,
        }

    async def _work(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                batch = [self._queue.popleft() for _ in range(min(_TOGETHER, len(self._queue)))]
                self._running = len(batch)
                results = await asyncio.gather(*(job() for _, job in batch), return_exceptions=True)
                self._running = 0
                self._bytes -= sum(size for size, _ in batch)
                failed = sum(isinstance(result, Exception) for result in results)
                self.failed += failed
                self.written += len(batch) - failed
            self._idle.set()
