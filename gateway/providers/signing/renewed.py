"""A credential that expires: kept, renewed before its end, asked for by one caller for all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, NamedTuple, TypeVar

from gateway.core.clock import Clock
from gateway.core.errors import UpstreamRefusedUs

AHEAD = 300.0
"""Seconds before its end that a credential is renewed beside the calls, which still use the old one; at most a fifth of
its life."""
MARGIN = 30.0
"""Seconds before its end that a credential is not used any more; at most a twentieth of its life."""
REST = 5.0
"""Seconds without another try after one that failed: a thousand waiting calls must not become a thousand tries."""

T = TypeVar("T")


class Lasting(NamedTuple, Generic[T]):
    """What a service gave, and for how many seconds it is good from when it was asked for."""

    value: T
    seconds: float


class Renewed(Generic[T]):
    """`fetch` gets a new one; it raises UpstreamRefusedUs with words that are safe to show."""

    def __init__(self, fetch: Callable[[], Awaitable[Lasting[T]]], clock: Clock) -> None:
        self._fetch = fetch
        self._clock = clock
        self._value: T | None = None
        self._renew = 0
        self._ends = 0
        self._rests = 0
        self._failure = ""
        self._under_way: asyncio.Task[None] | None = None

    async def get(self) -> T:
        """Raises UpstreamRefusedUs when there is none to be had."""
        now = self._clock.now()
        if self._value is not None and now < self._ends:
            if now >= self._renew and now >= self._rests:
                self._begin()
            return self._value
        if now >= self._rests or self._under_way is not None:
            await asyncio.shield(self._begin())  # goes on for the others when this caller leaves
        if self._value is None or self._clock.now() >= self._ends:
            raise UpstreamRefusedUs(self._failure)
        return self._value

    def forget(self, value: object) -> None:
        """`value` is no good after all. Nothing happens when there is a newer one."""
        if value is self._value:
            self._value = None

    def _begin(self) -> asyncio.Task[None]:
        if self._under_way is None:
            self._under_way = asyncio.create_task(self._fetched())
        return self._under_way

    async def _fetched(self) -> None:
        asked = self._clock.now()
        try:
            got = await self._fetch()
        except UpstreamRefusedUs as fault:
            self._failure = fault.message
            self._rests = self._clock.now() + int(REST * 1e9)
        else:
            self._value = got.value
            self._renew = asked + int((got.seconds - min(AHEAD, got.seconds / 5)) * 1e9)
            self._ends = asked + int((got.seconds - min(MARGIN, got.seconds / 20)) * 1e9)
        finally:
            self._under_way = None
