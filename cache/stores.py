"""What a store must be. Two kinds: by key, and by nearness within a partition."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

if TYPE_CHECKING:
    import numpy as np


class StoreDown(Exception):
    """The store could not be asked, or not in time. A miss. `why` is safe to show: `timeout`, `breaker_open` ..."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Labels(msgspec.Struct, frozen=True):
    """By what an entry can be found when it is to be forgotten; never by whom it may be read (that is its key's)."""

    tenant: str = ""
    """Whose request it was stored for."""
    tags: tuple[str, ...] = ()


UNLABELLED = Labels()


class Which(msgspec.Struct, frozen=True, kw_only=True):
    """Entries to forget: those that fit all that is given. Nothing given: all."""

    tag: str | None = None
    tenant: str | None = None
    older_than: float | None = None
    """Seconds since it was stored."""

    @property
    def all(self) -> bool:
        return self.tag is None and self.tenant is None and self.older_than is None

    def fits(self, labels: Labels, age: float) -> bool:
        """`age` in seconds."""
        return (
            (self.tag is None or self.tag in labels.tags)
            and (self.tenant is None or self.tenant == labels.tenant)
            and (self.older_than is None or age > self.older_than)
        )


ALL = Which()


class Near(msgspec.Struct, frozen=True):
    """A candidate. `score` is the cosine similarity, -1 to 1."""

    id: str
    score: float
    payload: bytes


class ExactStore(Protocol):
    """Bytes by id. All but `stats` may raise `StoreDown`."""

    async def get(self, id: str) -> bytes | None: ...

    async def put(self, id: str, value: bytes, ttl: float, labels: Labels = UNLABELLED) -> None:
        """Keeps `value` for `ttl` seconds, at most."""
        ...

    async def delete(self, id: str) -> bool:
        """Whether there was such an entry."""
        ...

    async def purge(self, which: Which = ALL, *, dry_run: bool = False) -> int:
        """Forgets the entries that fit, or with `dry_run` only counts them; how many live ones there were."""
        ...

    async def sweep(self) -> None:
        """Housekeeping between requests: forgets what is past its time, keeps the bounds."""
        ...

    async def close(self) -> None: ...

    def stats(self) -> Mapping[str, float]: ...


class VectorStore(Protocol):
    """Entries near a vector, within one partition. All but `stats` may raise `StoreDown`."""

    async def start(self) -> None: ...

    async def search(self, partition: str, vector: np.ndarray[Any, Any], limit: int, floor: float) -> list[Near]:
        """At most `limit` live entries of exactly this partition with a score of `floor` or more, best first.
        `vector` has shape (dim,), float32, length 1."""
        ...

    async def put(
        self,
        partition: str,
        id: str,
        vector: np.ndarray[Any, Any],
        payload: bytes,
        ttl: float,
        labels: Labels = UNLABELLED,
    ) -> None: ...

    async def delete(self, id: str) -> bool: ...

    async def purge(self, which: Which = ALL, *, dry_run: bool = False) -> int:
        """As in `ExactStore`."""
        ...

    async def sweep(self) -> None: ...

    async def close(self) -> None: ...

    def stats(self) -> Mapping[str, float]: ...
