"""A bearer token that expires: kept, renewed before its end, asked for by one caller for all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

from gateway.core.clock import Clock
from gateway.core.errors import UpstreamRefusedUs
from gateway.core.secret import Secret

AHEAD = 300.0
"""Seconds before its end that a token is renewed beside the calls, which still use the old one; at most a fifth of its
life."""
MARGIN = 30.0
"""Seconds before its end that a token is not used any more; at most a twentieth of its life."""
REST = 5.0
"""Seconds without another try after one that failed: a thousand waiting calls must not become a thousand tries."""


class Grant(NamedTuple):
    """What a token service gave."""

    token: Secret
    seconds: float
    """How long it is good for, from when it was asked for."""


class Bearer:
    """A `Signer`. `fetch` gets a new token; it raises UpstreamRefusedUs with words that are safe to show."""

    reads_body = False

    def __init__(self, fetch: Callable[[], Awaitable[Grant]], clock: Clock) -> None:
        self._fetch = fetch
        self._clock = clock
        self._header: dict[str, str] | None = None
        self._renew = 0
        self._ends = 0
        self._rests = 0
        self._failure = ""
        self._under_way: asyncio.Task[None] | None = None

    async def headers(
        self, method: str, url: str, headers: Sequence[tuple[str, str]], body: bytes
    ) -> Mapping[str, str]:
        now = self._clock.now()
        if self._header is not None and now < self._ends:
            if now >= self._renew and now >= self._rests:
                self._begin()
            return self._header
        if now >= self._rests or self._under_way is not None:
            await asyncio.shield(self._begin())  # goes on for the others when this caller leaves
        if self._header is None or self._clock.now() >= self._ends:
            raise UpstreamRefusedUs(self._failure)
        return self._header

    def refused(self, status: int, reply: Mapping[str, str], sent: Mapping[str, str]) -> bool:
        """401: the token was revoked, or its service's clock is not ours."""
        if status != 401:
            return False
        if sent is self._header:
            self._header = None
        return True

    def _begin(self) -> asyncio.Task[None]:
        if self._under_way is None:
            self._under_way = asyncio.create_task(self._fetched())
        return self._under_way

    async def _fetched(self) -> None:
        asked = self._clock.now()
        try:
            grant = await self._fetch()
        except UpstreamRefusedUs as fault:
            self._failure = fault.message
            self._rests = self._clock.now() + int(REST * 1e9)
        else:
            self._header = {"authorization": f"Bearer {grant.token.reveal()}"}
            self._renew = asked + int((grant.seconds - min(AHEAD, grant.seconds / 5)) * 1e9)
            self._ends = asked + int((grant.seconds - min(MARGIN, grant.seconds / 20)) * 1e9)
        finally:
            self._under_way = None
