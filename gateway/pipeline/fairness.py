"""Who of one priority is next: tenants take turns by what they were served, not by how many requests they sent.

Each tenant has a counter of virtual tokens: those of its prompts, and twice those of its answers, which cost an engine
more. The tenant with the lowest counter is next. One that was away for a while starts where the others are, so nobody
saves up. (Sheng et al., Fairness in Serving Large Language Models, 2024.)
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque

ANSWER_WEIGHT = 2.0
MOST_TENANTS = 1024
"""Counters kept. One that falls out starts anew, where the others are."""


class Waiter:
    """One request in the queue. `turn` is given True when it may go, and False when it must make room."""

    __slots__ = ("rank", "tenant", "tokens", "turn")

    def __init__(self, tenant: str, rank: int, tokens: float) -> None:
        self.tenant = tenant
        self.rank = rank
        self.tokens = tokens
        self.turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()


class Turns:
    """The requests of one priority that wait, and what each tenant was served at it."""

    def __init__(self) -> None:
        self._lines: dict[str, deque[Waiter]] = {}
        self._served: OrderedDict[str, float] = OrderedDict()
        self._floor = 0.0
        """The counter of whoever went last, when it went: where one that comes now begins."""

    def __bool__(self) -> bool:
        return bool(self._lines)

    def put(self, waiter: Waiter) -> None:
        line = self._lines.get(waiter.tenant)
        if line is None:
            line = self._lines[waiter.tenant] = deque()
            self._count(waiter.tenant, 0.0)
        line.append(waiter)

    def next(self) -> Waiter:
        """Takes out who is next. What it is served is still to be counted."""
        tenant = min(self._lines, key=self._served.__getitem__)
        self._floor = max(self._floor, self._served[tenant])
        waiter = self._lines[tenant][0]
        self.remove(waiter)
        return waiter

    def last(self) -> Waiter:
        """Who makes room: the newest of the tenant with the longest line."""
        return max(self._lines.values(), key=len)[-1]

    def remove(self, waiter: Waiter) -> bool:
        """False: it is not in."""
        line = self._lines.get(waiter.tenant, ())
        if waiter not in line:
            return False
        self._lines[waiter.tenant].remove(waiter)
        if not line:
            del self._lines[waiter.tenant]
        return True

    def charge(self, tenant: str, tokens: float) -> None:
        """Counts what a tenant is served, whether or not it had to wait for it."""
        self._count(tenant, tokens)
        if len(self._served) > MOST_TENANTS:
            self._forget()

    def _count(self, tenant: str, tokens: float) -> None:
        self._served[tenant] = max(self._served.get(tenant, 0.0), self._floor) + tokens
        self._served.move_to_end(tenant)

    def _forget(self) -> None:
        """One that does not wait; if all do, the queue's own bound holds."""
        idle = next((tenant for tenant in self._served if tenant not in self._lines), None)
        if idle is not None:
            del self._served[idle]
