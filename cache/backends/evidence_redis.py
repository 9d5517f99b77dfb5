"""Outcomes in Redis, one bounded list a route: all workers and replicas serve or shadow by the same evidence."""

from __future__ import annotations

import msgspec

from cache.backends.redis_link import RedisLink
from cache.evidence import WINDOW, Outcome
from gateway.core.fingerprint import digest

_LINE = msgspec.json.Decoder(Outcome)
_BUDGET = 2.0


class RedisLog:
    """A `shadow.Log`. Raises `StoreDown`. What another process adds is seen at the next `load`."""

    def __init__(self, link: RedisLink, name: str, *, prefix: str = "tidegate") -> None:
        """`name`: of the route and all that its scores depend on. Hashed."""
        self._link = link
        self._seen: object = None
        self._key = f"{prefix}:evidence:{digest(name)[:16]}"

    async def load(self) -> list[Outcome] | None:
        lines = await self._link.call(b"LRANGE", self._key, -WINDOW, -1, budget=_BUDGET)
        if lines == self._seen:
            return None
        self._seen = lines
        found = [_read(line) for line in lines if isinstance(line, bytes)] if isinstance(lines, list) else []
        return [outcome for outcome in found if outcome is not None]

    async def append(self, outcome: Outcome) -> None:
        await self._link.call(b"RPUSH", self._key, msgspec.json.encode(outcome), budget=_BUDGET)
        await self._link.call(b"LTRIM", self._key, -WINDOW, -1, budget=_BUDGET)

    async def close(self) -> None:
        """The link is shared; whoever made it closes it."""


def _read(line: bytes) -> Outcome | None:
    try:
        return _LINE.decode(line)
    except msgspec.MsgspecError:
        return None
