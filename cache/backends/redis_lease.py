"""Who makes an answer that several processes are asked for at one time: one lease a key, in Redis.

The lease is a key that holds its owner's token for `LEASE` seconds and is renewed while the answer is being made, so a
process that dies or hangs is succeeded soon. The token fences: only its owner can renew the lease, end it or mark it. The
answer itself needs no fence: one that comes late from an owner that was given up is as good as its successor's.

What stands there when the owner is done: nothing (the answer is stored, or the owner left), `!n` (the n-th owner in a row
failed) or `-` (the answer is not for others). The marks go after `MARK` seconds.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Coroutine, Mapping
from typing import Any

from cache.backends.redis_link import RedisLink
from cache.backends.redis_script import Script
from cache.shared import MOST_FAILURES, Asked, Held
from cache.stores import StoreDown

LEASE = 3.0
"""Seconds. A third of it is the time between renewals, so one that is lost costs nothing."""
MARK = 1.0
_BACKGROUND_BUDGET = 0.5
_MOST_TASKS = 4096

_ASK = """
local entry = redis.call('GET', KEYS[2])
if entry then return entry end
local held = redis.call('GET', KEYS[1])
local failures = 0
if held then
  if held == '-' then return -1 end
  if string.sub(held, 1, 1) ~= '!' then return -2 end
  failures = tonumber(string.sub(held, 2))
  if failures >= tonumber(ARGV[3]) then return -1 end
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return failures
"""
_RENEW = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0"
_END = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '' then return redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
"""


class RedisLeases:
    """A `Leases`. `prefix` is where the entries of the store stand; a lease lies beside its entry."""

    def __init__(self, link: RedisLink, prefix: str) -> None:
        self._prefix = prefix
        self._ask = Script(link, _ASK)
        self._renew = Script(link, _RENEW)
        self._end = Script(link, _END)
        self._held: dict[str, Held] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._renewing: asyncio.Task[None] | None = None
        self.lost = 0

    async def ask(self, id: str) -> Asked:
        """The entry, if it is there; else the lease, if nobody has it. Raises StoreDown."""
        token = secrets.token_hex(12)
        words = (token, round(LEASE * 1000), MOST_FAILURES)
        try:
            reply = await self._ask((self._lease(id), self._prefix + id), words)
        except BaseException:
            self._later(self._finish(id, token, b""))  # Redis may have given it to us all the same
            raise
        if isinstance(reply, bytes):
            return reply
        if not isinstance(reply, int):
            raise StoreDown("reply")
        if reply < 0:
            return "alone" if reply == -1 else "held"
        held = self._held[id] = Held(token, reply)
        self._keep_renewing()
        return held

    def holds(self, id: str) -> bool:
        return id in self._held

    def end(self, id: str, *, failures: int = 0, unshared: bool = False) -> None:
        """The lease, if it is held, is for others again. Does not wait."""
        held = self._held.pop(id, None)
        if held is None:
            return
        mark = b"-" if unshared else b"!%d" % (held.failures + failures) if failures else b""
        self._later(self._finish(id, held.token, mark))

    async def close(self) -> None:
        """Gives back what is held, for at most a second; the rest expires."""
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)
        for id in list(self._held):
            self.end(id)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1.0)

    def stats(self) -> Mapping[str, float]:
        return {"leases": len(self._held), "leases_lost": self.lost}

    def _lease(self, id: str) -> str:
        return f"{self._prefix}lease:{id}"

    async def _finish(self, id: str, token: str, mark: bytes) -> None:
        try:
            words = (token, mark, round(MARK * 1000))
            await self._end((self._lease(id),), words, budget=_BACKGROUND_BUDGET)
        except StoreDown:
            """It expires by itself."""

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        if len(self._tasks) >= _MOST_TASKS:
            work.close()
            return
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _keep_renewing(self) -> None:
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.create_task(self._renew_all(), name="lease-renewal")

    async def _renew_all(self) -> None:
        """Ends when nothing is held."""
        while True:
            await asyncio.sleep(LEASE / 3)
            if not self._held:
                return
            await asyncio.gather(*(self._renew_one(id, held) for id, held in list(self._held.items())))

    async def _renew_one(self, id: str, held: Held) -> None:
        try:
            reply = await self._renew((self._lease(id),), (held.token, round(LEASE * 1000)), budget=_BACKGROUND_BUDGET)
        except StoreDown:
            return
        if reply == 0 and self._held.get(id) is held:
            del self._held[id]  # somebody else may lead by now; our own answer goes on all the same
            self.lost += 1
