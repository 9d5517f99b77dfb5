"""What a client that leaves frees: how long an engine goes on with an answer that nobody reads.

Engines tell nothing of it here (`transformers serve` has no metrics), so it is read off their processes: one that generates
keeps a core busy with launching kernels, one that waits does not.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench.gpu.calls import Way, ask, body, new_client
from bench.gpu.engines import Engine

LONG = 1000
"""Tokens of the answer that is left."""
READ = 10
"""Pieces that are read of it."""
LOOK = 0.1
IDLE = 0.3
"""Of what it uses while it generates: below, it has stopped."""
QUIET_FOR = 3
"""Looks in a row."""


@dataclass(frozen=True, kw_only=True)
class Left:
    """Seconds. `whole`: how long the answer takes when it is read; `busy`: how long engines were busy after the client had
    left."""

    whole: float
    busy: float


async def leaving(way: Way, engines: Sequence[Engine]) -> Left:
    """Raises ValueError where generating cannot be told from waiting."""
    asked = body(way.model, "Tell me of the tides.", LONG)
    async with new_client() as client:
        before, begun = _used(engines), time.perf_counter()
        call = await ask(client, way.urls[0], asked)
        whole = time.perf_counter() - begun
        generating = (_used(engines) - before) / whole
        idle = await _use(engines, 1.0)
        if call.problem or idle > IDLE * generating:
            raise ValueError(f"busy {generating:.2f}, idle {idle:.2f} of a core; {call.problem or 'no call failed'}")
        await ask(client, way.urls[0], asked, leave_after=READ)
        return Left(whole=whole, busy=await _until_idle(engines, idle + IDLE * (generating - idle), 2 * whole))


async def _until_idle(engines: Sequence[Engine], below: float, most: float) -> float:
    begun, quiet = time.perf_counter(), 0
    while quiet < QUIET_FOR:
        since = time.perf_counter() - begun
        quiet = quiet + 1 if await _use(engines, LOOK) < below else 0
        if since > most:
            return since
    return time.perf_counter() - begun - QUIET_FOR * LOOK


async def _use(engines: Sequence[Engine], seconds: float) -> float:
    """Of one core, by all of them."""
    before = _used(engines)
    await asyncio.sleep(seconds)
    return (_used(engines) - before) / seconds


def _used(engines: Sequence[Engine]) -> float:
    return sum(engine.process.cpu() for engine in engines)
