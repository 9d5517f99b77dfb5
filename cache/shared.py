"""Coalescing among processes: the leader of one process waits for the leader of another.

Each process still has its own leader for each key (`singleflight`). Before that one calls a model it asks for the key's
lease, and with it leads for all; while another process has it, it waits for the entry to appear in the store. It asks
again and again, at growing intervals with some chance in them, which needs no second connection: a wait costs a few dozen
round trips of a third of a millisecond. Its own followers hear what it hears.

A store that is down or slow ends the wait at once: then each process has a leader of its own, as without Redis.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Literal, Protocol

import msgspec

from cache.stores import StoreDown

MOST_FAILURES = 2
"""Leaders in a row that asked a model and failed, before nobody waits any more."""
MOST_WAIT = 30.0
"""Seconds that a leader waits for another process's, whatever its own deadline."""
_FIRST, _LONGEST, _GROWTH = 0.01, 0.1, 1.5
"""Seconds between two questions."""
_MOST_UNANSWERED = 3
"""In a row, of one who waits: one late reply is no reason for a call of a model."""

Told = bytes | Literal["lead", "alone"]
"""What one who waits is told: the packed answer, to lead, or to go on by itself."""


class Held(msgspec.Struct, frozen=True):
    """A lease. `failures`: of the leaders before."""

    token: str
    failures: int


Asked = bytes | Held | Literal["held", "alone"]
"""The packed entry; the lease; somebody else has the lease; or: do not wait for this one."""


class Leases(Protocol):
    async def ask(self, id: str) -> Asked:
        """Raises StoreDown."""
        ...

    def holds(self, id: str) -> bool: ...

    def end(self, id: str, *, failures: int = 0, unshared: bool = False) -> None: ...

    async def close(self) -> None: ...

    def stats(self) -> Mapping[str, float]: ...


class Elsewhere:
    """The other processes, as one process's flights see them. For one route."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self._rng = random.Random()  # noqa: S311 - spreads questions, guards nothing
        self.counts = dict.fromkeys(("led", "followed", "promoted", "waited_out", "unreached", "served", "alone"), 0)

    async def lead(self, id: str, patience: float) -> tuple[Told, str]:
        """Waits, for `patience` seconds at most, until it is clear what this process's leader does. Second: why the
        store could not be asked, or empty."""
        if self._leases.holds(id):
            return "lead", ""
        loop = asyncio.get_running_loop()
        until = loop.time() + min(patience, MOST_WAIT)
        pause, waited, unanswered = _FIRST, False, 0
        while True:
            asked: Asked = "held"
            try:
                asked = await self._leases.ask(id)
                unanswered = 0
            except StoreDown as error:
                unanswered += 1
                if not waited or unanswered >= _MOST_UNANSWERED or error.why == "breaker_open":
                    self.counts["unreached"] += 1
                    return "lead", error.why
            if asked != "held":
                return self._told(asked, waited), ""
            self.counts["followed"] += not waited
            waited = True
            left = until - loop.time()
            if left <= 0:
                self.counts["waited_out"] += 1
                return "lead", ""
            await asyncio.sleep(min(left, pause * self._rng.uniform(0.8, 1.2)))
            pause = min(_LONGEST, pause * _GROWTH)

    def end(self, id: str, *, failures: int = 0, unshared: bool = False) -> None:
        """This process's leader is done with it."""
        self._leases.end(id, failures=failures, unshared=unshared)

    async def close(self) -> None:
        await self._leases.close()

    def stats(self) -> Mapping[str, float]:
        return {**self.counts, **self._leases.stats()}

    def _told(self, asked: Asked, waited: bool) -> Told:
        if isinstance(asked, Held):
            self.counts["promoted" if waited else "led"] += 1
            return "lead"
        if isinstance(asked, bytes):
            self.counts["served"] += 1
            return asked
        self.counts["alone"] += 1
        return "alone"
