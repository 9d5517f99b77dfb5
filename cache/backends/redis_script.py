"""A Lua script in Redis: several steps that nothing comes between, in one round trip."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from cache.backends.redis_link import RedisLink
from cache.backends.resp import ReplyError, Value


class Script:
    """Called by its digest; sent whole only to a server that does not know it (a fresh one, or after SCRIPT FLUSH)."""

    __slots__ = ("_link", "_sha", "_text")

    def __init__(self, link: RedisLink, text: str) -> None:
        self._link = link
        self._text = text
        self._sha = hashlib.sha1(text.encode()).hexdigest()  # noqa: S324 - Redis names scripts so

    async def __call__(
        self, keys: Sequence[str], arguments: Sequence[bytes | str | int] = (), *, budget: float | None = None
    ) -> Value:
        """Raises StoreDown."""
        words = (len(keys), *keys, *arguments)
        try:
            return await self._link.call(b"EVALSHA", self._sha, *words, budget=budget)
        except ReplyError:
            return await self._link.call(b"EVAL", self._text, *words, budget=budget)
