"""Counting a prompt's tokens for providers that cannot be asked to: an estimate made here, and called one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from gateway.core.events import Finished, Frame, Started
from gateway.core.request import Request
from gateway.core.tokens import estimate
from gateway.dialects.counted import COUNT

COUNTS = frozenset({"count_tokens", "input_tokens"})
"""The operations that only count."""


class CountedHere:
    """A `core.ports.Reply` that no upstream gave. Its one answer says that it is an estimate."""

    endpoint = ""
    status = 200
    upstream_id = ""

    def __init__(self, request: Request) -> None:
        started = Started("", "", 0, {COUNT: {"input_tokens": estimate(request), "estimated": True}})
        self._frame = Frame((started, Finished()), None, request.dialect)

    async def frames(self) -> AsyncIterator[Sequence[Frame]]:
        yield (self._frame,)

    async def close(self) -> None:
        """Nothing is open."""
