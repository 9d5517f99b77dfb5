"""A bounded queue of bytes, and the thread that sends it on: for something outside that may be slow, down or gone.

The SDK's batch processor would do most of this. It has no bound on its shutdown that a caller can set, counts nothing
that it drops, and throws a batch away as soon as one call fails; here a batch waits for the collector to come back, for
as long as the queue has room.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Literal

Sent = Literal["ok", "later", "never"]
Send = Callable[[Sequence[bytes]], Sent]
"""Sends one batch; may take seconds. `later`: nobody there, keep it; `never`: it was refused for good."""

MOST_BYTES = 16 * 1024 * 1024
BATCH = 256
EVERY = 1.0
FIRST_REST = 1.0
LONGEST_REST = 30.0
"""Seconds without a call after one failed; doubles each time."""


class Outbox:
    """`put` from the event loop; everything else happens in a thread that starts with the first item.

    `dropped` counts items that were not sent and never will be. `resting` is true while the other side is left alone.
    """

    def __init__(
        self,
        send: Send,
        *,
        most_bytes: int = MOST_BYTES,
        batch: int = BATCH,
        every: float = EVERY,
        first_rest: float = FIRST_REST,
        state: Callable[[bool], None] | None = None,
    ) -> None:
        """`state` is told when the other side stops answering (False) and when it answers again (True)."""
        self._send = send
        self._most_bytes = most_bytes
        self._batch = batch
        self.every = every
        self._first_rest = first_rest
        self._state = state or (lambda _well: None)
        self._items: deque[bytes] = deque()
        self._bytes = 0
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closing = False
        self._thread: threading.Thread | None = None
        self.dropped = 0
        self.resting = False

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: bytes) -> None:
        """Never waits. Dropped, and counted, when there is no room or the outbox is closed."""
        with self._lock:
            if self._closing or self._bytes + len(item) > self._most_bytes:
                self.dropped += 1
                return
            self._items.append(item)
            self._bytes += len(item)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="outbox", daemon=True)
            self._thread.start()
        if len(self._items) >= self._batch and not self.resting:
            self._wake.set()

    def close(self, limit: float) -> None:
        """Sends what is queued, for at most `limit` seconds. Blocks: call it off the loop. If the other side was out of
        reach, it is not asked again."""
        with self._lock:
            self._closing = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(limit)
        with self._lock:
            self.dropped += len(self._items)
            self._items.clear()
            self._bytes = self._most_bytes = 0  # no room: what a call still under way gives back is dropped as well

    def _work(self) -> None:
        rest = 0.0
        while not self._closing:
            self._wake.wait(rest or self.every)
            self._wake.clear()
            if self._closing and rest:
                return
            rest = 0.0 if self._flush() else min(LONGEST_REST, rest * 2 or self._first_rest)
        if not rest:
            self._flush()

    def _flush(self) -> bool:
        """Sends until nothing is left; false as soon as the other side is out of reach."""
        while batch := self._take():
            sent = self._sent(batch)
            if sent == "later":
                self._put_back(batch)
                self._tell(resting=True)
                return False
            if sent == "never":
                with self._lock:
                    self.dropped += len(batch)
            self._tell(resting=False)
        return True

    def _sent(self, batch: Sequence[bytes]) -> Sent:
        try:
            return self._send(batch)
        except Exception:  # a bug in the sender must not end the thread; its batch is counted as dropped
            return "never"

    def _take(self) -> list[bytes]:
        with self._lock:
            count = min(self._batch, len(self._items))
            batch = [self._items.popleft() for _ in range(count)]
            self._bytes -= sum(map(len, batch))
            return batch

    def _put_back(self, batch: Sequence[bytes]) -> None:
        """Oldest first again. What came meanwhile keeps its place; if both do not fit, the oldest go."""
        with self._lock:
            for item in reversed(batch):
                if self._bytes + len(item) > self._most_bytes:
                    self.dropped += 1
                    continue
                self._items.appendleft(item)
                self._bytes += len(item)

    def _tell(self, *, resting: bool) -> None:
        if resting != self.resting:
            self.resting = resting
            self._state(not resting)
