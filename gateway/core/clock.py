"""Time, as a value that can be handed in, so that tests move it instead of sleeping."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Monotonic nanoseconds for measuring, Unix nanoseconds for the record."""

    def now(self) -> int: ...

    def wall(self) -> int: ...


class SystemClock:
    """The machine's clock."""

    now = staticmethod(time.perf_counter_ns)
    wall = staticmethod(time.time_ns)


class ManualClock:
    """A clock that stands still until moved. For tests of limits, expiry and breakers."""

    def __init__(self, wall: int = 1_700_000_000_000_000_000) -> None:
        self._now = 0
        self._wall = wall

    def now(self) -> int:
        return self._now

    def wall(self) -> int:
        return self._wall + self._now

    def advance(self, seconds: float) -> None:
        self._now += int(seconds * 1e9)
