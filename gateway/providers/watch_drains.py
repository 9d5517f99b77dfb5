"""Which endpoints an operator has drained: in this process, and through Redis in all that share it, also later ones."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

Call = Callable[..., Awaitable[Any]]
"""One Redis command."""
Drained = tuple[str, str]
"""A provider's name and an endpoint's URL."""

_KEY = "tidegate:drained"
CALL_SECONDS = 1.0
MOST = 1024


class Drains:
    """The truth is Redis' hash where there is one. What could not be written there is tried again at each `refresh`."""

    def __init__(self, call: Call | None) -> None:
        self.all: frozenset[Drained] = frozenset()
        self._call = call
        self._unwritten: dict[Drained, bool] = {}

    @property
    def shared(self) -> bool:
        """Whether all that was said here is known to the others."""
        return self._call is not None and not self._unwritten

    async def set(self, which: Drained, drain: bool) -> None:
        """In this process at once; `shared` then says whether the others will see it."""
        self.all = self.all | {which} if drain else self.all - {which}
        if self._call is not None:
            if len(self._unwritten) < MOST:
                self._unwritten[which] = drain
            await self._write()

    async def refresh(self) -> None:
        """What the others said. With Redis out of reach what was known stays."""
        if self._call is None or not await self._write():
            return
        told = await self._asked("HKEYS", _KEY)
        if not isinstance(told, list):
            return
        found = set()
        for field in told[:MOST]:
            name, space, url = (
                field.decode("utf-8", "replace") if isinstance(field, bytes) else str(field)
            ).rpartition(" ")
            if space:
                found.add((name, url))
        self.all = frozenset(found | {w for w, on in self._unwritten.items() if on})

    async def _write(self) -> bool:
        for which, drain in list(self._unwritten.items()):
            field = f"{which[0]} {which[1]}"
            done = await self._asked("HSET", _KEY, field, "1") if drain else await self._asked("HDEL", _KEY, field)
            if done is None:
                return False
            if self._unwritten.get(which) is drain:
                del self._unwritten[which]
        return True

    async def _asked(self, *words: str) -> Any:
        """The reply; None when there is none."""
        assert self._call is not None
        try:
            async with asyncio.timeout(CALL_SECONDS):
                return await self._call(*words)
        except Exception:  # whatever the client library raises: refused, reset, slow, loading
            return None
