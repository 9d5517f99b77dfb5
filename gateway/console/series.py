"""What happened over time, for the console's plots: counts in buckets of ten seconds and of a minute, bounded and in memory.

Holds counts, names of the configuration and readings of the caches' evidence; nothing of one request, nothing a user wrote.
A bucket is filled when a receipt is *recorded*, so a long answer counts where it ended. Other processes' requests are not
here; the bound is, where their evidence is shared.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from gateway.core.clock import Clock
from gateway.core.receipt import OWN_ROUTES, Receipt

SPANS = {"15m": (10, 90), "3h": (60, 180)}
"""Seconds of a bucket, and how many are kept."""
MOST_NAMES = 512
"""Routes, and intents, that are counted by name; the others are `other`, as is every name not in the configuration."""
MOST_SHOWN = 8
"""Lines of one plot: the largest, and the rest together as `other`."""
OTHER, NONE = "other", "none"
_CACHE = {"hit": "exact", "semantic": "semantic", "miss": "miss", "bypass": "bypass"}
_READ = ("wrong_bound", "serving", "assumed", "agreements", "disagreements", "unclear")

Stats = Mapping[str, Mapping[str, float]]
Counts = dict[str, int]


class Bucket:
    """What was recorded between two edges, and the last reading of each route's evidence in it."""

    __slots__ = ("cache", "evidence", "index", "intents", "requests", "routes")

    def __init__(self, index: int) -> None:
        self.index = index
        self.requests = 0
        self.cache: Counts = {}
        self.routes: Counts = {}
        self.intents: Counts = {}
        self.evidence: Stats = {}

    def add(self, cache: str, route: str, intent: str) -> None:
        self.requests += 1
        self.cache[cache] = self.cache.get(cache, 0) + 1
        self.routes[route] = self.routes.get(route, 0) + 1
        if intent:
            self.intents[intent] = self.intents.get(intent, 0) + 1


_NOTHING = Bucket(-1)


class Series:
    """Recorder `series`."""

    name = "series"
    essential = False

    def __init__(
        self,
        clock: Clock,
        *,
        routes: Iterable[str],
        intents: Iterable[str],
        limits: Mapping[str, float],
        stats: Callable[[], Stats],
    ) -> None:
        """`routes`, `intents`: the configured names. `limits`: the highest share of wrong hits that each route with a
        semantic cache allows. `stats`: the caches' own, asked once a bucket and whenever somebody looks."""
        self._clock = clock
        self._routes = {*list(routes)[:MOST_NAMES], *OWN_ROUTES, NONE}
        self._intents = set(list(intents)[:MOST_NAMES])
        self._limits = dict(limits)
        self._stats = stats
        # Unix time that no set clock moves back or forth: from here on only the monotonic one counts.
        self._epoch = clock.wall() - clock.now()
        self._rings: dict[str, deque[Bucket]] = {span: deque(maxlen=kept) for span, (_, kept) in SPANS.items()}

    async def record(self, receipt: Receipt) -> None:
        cache = _CACHE[receipt.cache]
        route = _known(receipt.route or NONE, self._routes)
        intent = _known(receipt.intent, self._intents) if receipt.intent else ""
        for bucket in self._buckets():
            bucket.add(cache, route, intent)

    def told(self, span: str) -> dict[str, Any]:
        """Lists with one value a bucket, the oldest first and the last one still filling. Raises KeyError: no such span.

        A list of evidence has None until the first reading; a later bucket without one repeats the one before."""
        step, kept = SPANS[span]
        self._buckets(read=True)
        last = self._index(step)
        held = {bucket.index: bucket for bucket in self._rings[span]}
        row = [held.get(index, _NOTHING) for index in range(last - kept + 1, last + 1)]
        return {
            "span": span,
            "step_s": step,
            "from_ms": (last - kept + 1) * step * 1000,
            "requests": [bucket.requests for bucket in row],
            "cache": {kind: [bucket.cache.get(kind, 0) for bucket in row] for kind in _CACHE.values()},
            "routes": _largest([bucket.routes for bucket in row]),
            "intents": _largest([bucket.intents for bucket in row]),
            "evidence": self._evidence(row),
            "evidence_routes": len(self._limits),
        }

    def _index(self, step: int) -> int:
        return (self._epoch + self._clock.now()) // (step * 1_000_000_000)

    def _buckets(self, *, read: bool = False) -> list[Bucket]:
        """The one of now of every ring. A new bucket begins with a reading of the evidence."""
        found, fresh = [], read
        for span, ring in self._rings.items():
            index = self._index(SPANS[span][0])
            if not ring or ring[-1].index != index:
                ring.append(Bucket(index))
                fresh = True
            found.append(ring[-1])
        if fresh and self._limits:
            stats = self._stats()
            evidence = {route: stats[f"{route}.evidence"] for route in self._limits if f"{route}.evidence" in stats}
            for bucket in found:
                bucket.evidence = evidence
        return found

    def _evidence(self, row: Sequence[Bucket]) -> list[dict[str, Any]]:
        """Of the routes nearest to their limit, or furthest above it."""
        told: list[tuple[float, dict[str, Any]]] = []
        for route, limit in self._limits.items():
            lists: dict[str, list[float | None]] = {key: [] for key in _READ}
            reading: Mapping[str, float] = {}
            for bucket in row:
                reading = bucket.evidence.get(route, reading)
                for key, values in lists.items():
                    values.append(reading.get(key))
            told.append((reading.get("wrong_bound", 0.0) / max(limit, 1e-9), {"name": route, "limit": limit, **lists}))
        return [each for _, each in sorted(told, key=lambda pair: -pair[0])[:MOST_SHOWN]]


def _known(name: str, names: set[str]) -> str:
    return name if name in names else OTHER


def _largest(row: Sequence[Mapping[str, int]]) -> list[dict[str, Any]]:
    """One list a name, the largest sums first; those beyond `MOST_SHOWN` are added up in `other`, which is last."""
    sums: Counts = {}
    for counts in row:
        for name, count in counts.items():
            sums[name] = sums.get(name, 0) + count
    rest = sums.pop(OTHER, 0)
    names = sorted(sums, key=lambda name: (-sums[name], name))
    shown, more = names[:MOST_SHOWN], {*names[MOST_SHOWN:], OTHER}
    told = [{"name": name, "values": [counts.get(name, 0) for counts in row]} for name in shown]
    if rest or len(names) > MOST_SHOWN:
        told.append({"name": OTHER, "values": [sum(counts.get(n, 0) for n in more if n in counts) for counts in row]})
    return told
