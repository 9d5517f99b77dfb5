"""What the gateways in front of one pool tell each other, many times a second: how much each has under way where, and which
prompts it sent there. Best effort: what is lost or late makes a pick worse and never wrong.

A prompt is told by some of its hashes, at lengths that grow by a quarter of an octave: enough to find a common beginning
to within a fifth, in 40 numbers at most. Text cannot be had from them, and two tenants' are never alike.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from gateway.pools.chain import MOST_BLOCKS

if TYPE_CHECKING:
    from gateway.pools.endpoint import Endpoint

EVERY = 0.05
"""Seconds between two pieces of news."""
FRESH = 1.5
"""Seconds for which what another said of its load is believed."""
AGAIN = 0.5
"""Seconds after which a load is told again though it is the same."""
MOST_NOTES = 256
"""Prompts in one piece of news; of more, the newest."""
MOST_GATEWAYS = 64

COUNTS = tuple(sorted({int(2 ** (step / 4)) for step in range(4 * 11 + 1)} | {3, 5, 6, 7}))
"""Blocks of a prompt after which a mark is set: 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 16, ... 2048."""
assert COUNTS[-1] == MOST_BLOCKS


class Load(NamedTuple):
    """What one gateway has under way at one endpoint."""

    unread: float = 0.0
    in_flight: int = 0
    unanswered: int = 0
    at: int = 0
    """When it was heard; nanoseconds of the clock."""


NO_LOAD = Load()


class News(msgspec.Struct, array_like=True, frozen=True):
    """Endpoints go by `Endpoint.seed`, which is the same everywhere."""

    by: int
    """A number that a gateway gave itself."""
    loads: tuple[tuple[int, float, int, int], ...]
    """(endpoint, unread, in flight, unanswered)"""
    notes: tuple[tuple[int, tuple[int, ...]], ...]
    """(endpoint, marks of a prompt)"""


def marks_of(blocks: Sequence[int]) -> tuple[int, ...]:
    return tuple([blocks[count - 1] for count in COUNTS[: bisect_right(COUNTS, len(blocks))]])


class Others:
    """What other gateways have under way at one endpoint, as they last said."""

    __slots__ = ("_loads",)

    def __init__(self) -> None:
        self._loads: dict[int, Load] = {}

    def __bool__(self) -> bool:
        return bool(self._loads)

    def said(self, by: int, load: Load) -> None:
        if by in self._loads or len(self._loads) < MOST_GATEWAYS:
            self._loads[by] = load

    def load(self, now: int) -> Load:
        """All of it. What is too old is forgotten."""
        loads = self._loads
        if not loads:
            return NO_LOAD
        oldest = now - int(FRESH * 1e9)
        for by in [by for by, load in loads.items() if load.at < oldest]:
            del loads[by]
        unread, in_flight, unanswered = 0.0, 0, 0
        for load in loads.values():
            unread += load.unread
            in_flight += load.in_flight
            unanswered += load.unanswered
        return Load(unread, in_flight, unanswered)


class Sharing:
    """One pool's part in it. `by`: this gateway's number, drawn by chance."""

    def __init__(self, by: int) -> None:
        self.by = by
        self._notes: deque[tuple[int, tuple[int, ...]]] = deque(maxlen=MOST_NOTES)
        self._told: dict[int, tuple[float, int, int]] = {}
        self._told_at = 0

    def placed(self, endpoint: Endpoint, marks: tuple[int, ...]) -> None:
        if marks:
            self._notes.append((endpoint.seed, marks))

    def news(self, endpoints: Sequence[Endpoint], now: int) -> News | None:
        """Since the last time; None where there is nothing to tell."""
        loads = {one.seed: (round(one.unread, 1), one.in_flight, one.unanswered) for one in endpoints}
        again = now - self._told_at >= AGAIN * 1e9 and any(load[1] for load in loads.values())
        told = loads if again else {seed: load for seed, load in loads.items() if self._told.get(seed) != load}
        if not told and not self._notes:
            return None
        notes = tuple(self._notes)
        self._notes.clear()
        self._told = loads
        if again:
            self._told_at = now
        return News(self.by, tuple((seed, *load) for seed, load in told.items()), notes)

    def hear(self, news: News, endpoints: Mapping[int, Endpoint], now: int) -> None:
        """What another gateway said; one's own word coming back is no news."""
        if news.by == self.by:
            return
        for seed, unread, in_flight, unanswered in news.loads:
            endpoint = endpoints.get(seed)
            if endpoint is not None:
                endpoint.known.others.said(news.by, Load(max(0.0, unread), max(0, in_flight), max(0, unanswered), now))
        for seed, marks in news.notes[:MOST_NOTES]:
            endpoint = endpoints.get(seed)
            if endpoint is not None:
                marks = marks[: len(COUNTS)]
                heard = endpoint.known.heard
                heard.use(marks, heard.match(marks))
