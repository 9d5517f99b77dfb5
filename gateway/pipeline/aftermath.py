"""After the last byte: receipts go through a bounded queue to the recorders, off the request path.

When the queue is full, a receipt still reaches the essential recorders (spend, the log line); the others miss it,
and the miss is counted. On shutdown the queue is drained, within a time limit.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from gateway.core.ports import Recorder
from gateway.core.receipt import Receipt

_BATCH_PAUSE = 0.02
"""Seconds between a receipt and its recording: waking once for many receipts is what keeps this cheap."""
_SIDE_BY_SIDE = 256
"""Receipts whose recorders wait at one time."""


class Aftermath:
    """The queue and its one worker. `dropped` counts, per recorder, the receipts it missed."""

    def __init__(
        self,
        recorders: Sequence[Recorder],
        *,
        waiting: Sequence[Recorder] = (),
        bound: int = 8192,
        crashed: Callable[[str, Exception], None] | None = None,
    ) -> None:
        """`waiting`: recorders that may wait for something outside, as for Redis. Those of many receipts wait side by side,
        and after the others: one receipt after the other, a wait of 2 ms would be 500 receipts a second, and all that is
        beyond would be missed by traces."""
        recorders = [*recorders, *waiting]
        self._recorders = tuple(recorders)
        self._essential = tuple(r for r in recorders if r.essential)
        self._waiting = {id(r) for r in waiting}
        self._bound = bound
        self._queue: deque[tuple[Receipt, tuple[Recorder, ...]]] = deque()
        self._wake: asyncio.Event | None = None
        self._task: asyncio.Task[None] | None = None
        self._under_way: asyncio.Task[None] | None = None
        self._crashed = crashed or (lambda _name, _error: None)
        self.dropped: dict[str, int] = {r.name: 0 for r in recorders if not r.essential}

    def __len__(self) -> int:
        return len(self._queue)

    async def start(self) -> None:
        self._wake = asyncio.Event()
        self._task = asyncio.create_task(self._work(), name="aftermath")

    def put(self, receipt: Receipt) -> None:
        """Never waits, never fails."""
        recorders = self._recorders
        if len(self._queue) >= self._bound:
            recorders = self._essential
            for name in self.dropped:
                self.dropped[name] += 1
        self._queue.append((receipt, recorders))
        if self._wake is not None:
            self._wake.set()

    async def drain(self) -> None:
        """Records everything that is queued now."""
        while self._queue:
            waits: list[tuple[Recorder, Receipt]] = []
            for _ in range(min(len(self._queue), _SIDE_BY_SIDE)):
                receipt, recorders = self._queue.popleft()
                for recorder in recorders:
                    if id(recorder) in self._waiting:
                        waits.append((recorder, receipt))
                    else:
                        await self._record(recorder, receipt)
            if waits:
                await asyncio.gather(*(self._record(*one) for one in waits))

    async def _record(self, recorder: Recorder, receipt: Receipt) -> None:
        try:
            await recorder.record(receipt)
        except Exception as error:  # a recorder's bug must not cost the others their receipt
            self._crashed(recorder.name, error)

    async def close(self, limit: float = 10.0) -> None:
        """Drains what is left, for at most `limit` seconds; what is lost then is reported as a crash of `aftermath`."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        try:
            async with asyncio.timeout(limit):
                if self._under_way is not None:
                    await self._under_way
                await self.drain()
        except TimeoutError as late:
            self._crashed("aftermath", late)

    async def _work(self) -> None:
        assert self._wake is not None
        while True:
            await self._wake.wait()
            await asyncio.sleep(_BATCH_PAUSE)
            self._wake.clear()
            self._under_way = asyncio.create_task(self.drain(), name="aftermath-drain")
            await asyncio.shield(self._under_way)  # stopping the worker must not lose the receipt it is at
