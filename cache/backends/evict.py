"""Which entry goes first when a store is full: the one unused longest, the one used least, or the oldest."""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal, Protocol

Policy = Literal["lru", "lfu", "fifo"]


class Order(Protocol):
    """Keeps the ids of the entries of a store. `add` of an id that is there starts it afresh."""

    def add(self, id: str) -> None: ...

    def touch(self, id: str) -> None:
        """It was read."""
        ...

    def remove(self, id: str) -> None: ...

    def victim(self) -> str:
        """Whom to evict. Raises LookupError when empty."""
        ...


class Recency:
    """`lru`, and with `arrival_only` `fifo`."""

    def __init__(self, *, arrival_only: bool = False) -> None:
        self._ids: OrderedDict[str, None] = OrderedDict()
        self._arrival_only = arrival_only

    def add(self, id: str) -> None:
        self._ids[id] = None
        self._ids.move_to_end(id)

    def touch(self, id: str) -> None:
        if not self._arrival_only:
            self._ids.move_to_end(id)

    def remove(self, id: str) -> None:
        del self._ids[id]

    def victim(self) -> str:
        return next(iter(self._ids))


class Frequency:
    """`lfu` in constant time: ids in buckets by how often they were read, oldest first within a bucket.

    Counts never decay, so an entry that was popular once stays until its TTL ends it.
    """

    def __init__(self) -> None:
        self._count: dict[str, int] = {}
        self._buckets: dict[int, OrderedDict[str, None]] = {}
        self._least = 0

    def add(self, id: str) -> None:
        if id in self._count:
            self.remove(id)
        self._put(id, 1)
        self._least = 1

    def touch(self, id: str) -> None:
        count = self._count[id]
        self._take(id, count)
        if self._least == count and count not in self._buckets:
            self._least = count + 1
        self._put(id, count + 1)

    def remove(self, id: str) -> None:
        self._take(id, self._count.pop(id))

    def victim(self) -> str:
        if self._least not in self._buckets:
            if not self._buckets:
                raise LookupError("nothing to evict")
            self._least = min(self._buckets)
        return next(iter(self._buckets[self._least]))

    def _put(self, id: str, count: int) -> None:
        self._count[id] = count
        self._buckets.setdefault(count, OrderedDict())[id] = None

    def _take(self, id: str, count: int) -> None:
        bucket = self._buckets[count]
        del bucket[id]
        if not bucket:
            del self._buckets[count]


def order_of(policy: Policy) -> Order:
    match policy:
        case "lfu":
            return Frequency()
        case "lru" | "fifo":
            return Recency(arrival_only=policy == "fifo")
