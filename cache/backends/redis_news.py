"""A board of news as a Redis stream. Read by asking, so it needs no connection of its own."""

from __future__ import annotations

from cache.backends.redis_link import RedisLink
from cache.stores import StoreDown

KEPT = 1000
"""Pieces of news that stay up, about."""
_AT_ONCE = 200
_SECONDS = 86400
_BUDGET = 0.5
_NONE = b"0-0"


class RedisBoard:
    """A `cache.news.Board`."""

    def __init__(self, link: RedisLink, name: str) -> None:
        """`name` is the same for all processes that tell each other."""
        self._link = link
        self._key = f"tidegate:news:{name}"
        self._last = _NONE

    async def put(self, message: bytes) -> None:
        call = self._link.call
        await call(b"XADD", self._key, b"MAXLEN", b"~", KEPT, b"*", b"m", message, budget=_BUDGET)
        await call(b"EXPIRE", self._key, _SECONDS, budget=_BUDGET)

    async def begin(self) -> None:
        newest = _entries(await self._link.call(b"XREVRANGE", self._key, b"+", b"-", b"COUNT", 1, budget=_BUDGET))
        self._last = newest[0][0] if newest else _NONE

    async def read(self) -> tuple[list[bytes], bool]:
        """From the last that was read on: if that is not there any more, it was trimmed or lost with a Redis that started
        anew, and others may have been with it."""
        call = self._link.call
        found = _entries(await call(b"XRANGE", self._key, self._last, b"+", b"COUNT", _AT_ONCE, budget=_BUDGET))
        if not found:
            return [], False
        there = found[0][0] == self._last
        missed = not there and self._last != _NONE
        self._last = found[-1][0]
        return [message for _, message in (found[1:] if there else found)], missed


def _entries(reply: object) -> list[tuple[bytes, bytes]]:
    """(id, message) of each. Raises StoreDown for a reply of another shape."""
    try:
        return [(bytes(entry[0]), bytes(entry[1][1])) for entry in reply or ()]  # type: ignore[attr-defined]
    except (IndexError, TypeError):
        raise StoreDown("reply") from None
