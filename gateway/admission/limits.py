"""Limits over a sliding window: the count of this window plus the share of the last one that still overlaps.

Two counters a key, no lists: no aligned window ever holds more than the limit. Between two of them the last one's use
is taken to be spread evenly, so a burst at its start is held against its key for up to a window longer. The same
arithmetic runs in memory (one process) and in Redis (many), so `rpm: 60` means the same on both.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable

from gateway.core.clock import Clock

_MOST_KEYS = 100_000

# KEYS[1]: the counter's name. ARGV: limit, window in ms, amount, now in ms. Gives 0 if taken, else ms to wait.
_SCRIPT = """
local limit, window, amount, now = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local slot = math.floor(now / window)
local current = tonumber(redis.call('GET', KEYS[1] .. ':' .. slot) or '0')
local before = tonumber(redis.call('GET', KEYS[1] .. ':' .. (slot - 1)) or '0')
local into = now - slot * window
local room = limit - amount
if before * (window - into) / window + current > room then
  if current <= room then
    return math.max(1, math.ceil(window - (room - current) * window / before - into))
  end
  local over = 0
  if room >= 0 then over = window - room * window / current end
  return math.max(1, math.ceil(window - into + over))
end
redis.call('INCRBY', KEYS[1] .. ':' .. slot, amount)
redis.call('PEXPIRE', KEYS[1] .. ':' .. slot, window * 2)
return 0
"""


class MemoryLimiter:
    """For one process. Bounded: past `most` keys the one idle longest is forgotten."""

    def __init__(self, clock: Clock, most: int = _MOST_KEYS) -> None:
        self._clock = clock
        self._most = most
        self._windows: OrderedDict[str, tuple[int, int, int]] = OrderedDict()
        self.degraded = False

    def __len__(self) -> int:
        return len(self._windows)

    def try_take(self, key: str, limit: int, window: float, amount: int = 1) -> float | None:
        """None if taken; else the seconds until there is room again."""
        width = int(window * 1e9)
        now = self._clock.now()
        slot, into = divmod(now, width)
        known, current, before = self._windows.get(key, (slot, 0, 0))
        if known != slot:
            current, before = 0, current if known == slot - 1 else 0
        if before * (width - into) / width + current + amount > limit:
            return max(0.001, _wait(width, into, limit - amount, current, before) / 1e9)
        self._windows[key] = (slot, current + amount, before)
        self._windows.move_to_end(key)
        if len(self._windows) > self._most:
            self._windows.popitem(last=False)
        return None

    async def take(self, key: str, limit: int, window: float, amount: int = 1) -> float | None:
        return self.try_take(key, limit, window, amount)


def _wait(width: int, into: int, room: int, current: int, before: int) -> float:
    """Until there is room, if nobody else takes it. While this window has room, the last one's share must shrink to it;
    else the window must end, and then it is this one's share that must shrink."""
    if current <= room:
        return width - (room - current) * width / before - into
    over = width - room * width / current if room >= 0 else 0.0  # there never is any room for more than the limit
    return width - into + over


Execute = Callable[..., Awaitable[object]]
"""Sends one Redis command and gives its reply within `budget` seconds, or raises:
`await execute("EVAL", script, 1, key, ..., budget=0.05)`."""


class RedisLimiter:
    """For many processes: one atomic script a request. While Redis is out of reach each process counts for itself,
    and `degraded` says so."""

    def __init__(
        self, execute: Execute, clock: Clock, *, prefix: str = "tidegate:limit:", budget: float = 0.05
    ) -> None:
        self._execute = execute
        self._clock = clock
        self._prefix = prefix
        self._budget = budget
        self._local = MemoryLimiter(clock)
        self.degraded = False

    async def take(self, key: str, limit: int, window: float, amount: int = 1) -> float | None:
        now = self._clock.wall() // 1_000_000
        arguments = (limit, int(window * 1000), amount, now)
        try:
            wait = await self._execute("EVAL", _SCRIPT, 1, self._prefix + key, *arguments, budget=self._budget)
        except Exception:  # whatever the client library raises: refused, reset, slow, loading
            self.degraded = True
            return self._local.try_take(key, limit, window, amount)
        self.degraded = False
        return float(wait) / 1000 if isinstance(wait, int) and wait > 0 else None


class Concurrency:
    """Requests under way for each key, in this process. `enter` gives the way out, or None when full."""

    def __init__(self) -> None:
        self._count: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._count)

    def enter(self, key: str, limit: int) -> Callable[[], None] | None:
        count = self._count.get(key, 0)
        if count >= limit:
            return None
        self._count[key] = count + 1
        return lambda: self._leave(key)

    def _leave(self, key: str) -> None:
        left = self._count[key] - 1
        if left:
            self._count[key] = left
        else:
            del self._count[key]
