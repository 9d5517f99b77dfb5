"""How the gateway is doing, for `/readyz` and the gauges of `/metrics`: from state already known, nothing is asked."""

from __future__ import annotations

from cache.build import Caches
from gateway.core.ports import Limiter
from gateway.pipeline.aftermath import Aftermath
from gateway.pipeline.spine import Spine

LABELS = {
    "tidegate_receipts_dropped": "kind",
    "tidegate_breaker_open": "dependency",
    "tidegate_cache_entries": "store",
}
"""The one label of each gauge that has one."""


class Status:
    def __init__(self, spine: Spine, aftermath: Aftermath, caches: Caches, limiter: Limiter) -> None:
        self._spine = spine
        self._aftermath = aftermath
        self._caches = caches
        self._limiter = limiter

    def degraded(self) -> dict[str, str]:
        """Each part that is out of order, and what is wrong with it."""
        out = {}
        for name, stats in self._caches.stats().items():
            if stats.get("breaker_open"):
                out[name] = "out of reach; its breaker is open"
        if getattr(self._limiter, "degraded", False):
            out["limits"] = "counted in this process only: Redis is out of reach"
        return out

    def readings(self) -> dict[str, dict[str, float]]:
        stats = self._caches.stats()
        return {
            "tidegate_inflight_requests": {"": float(self._spine.inflight)},
            "tidegate_receipts_queued": {"": float(len(self._aftermath))},
            "tidegate_receipts_dropped": {name: float(count) for name, count in self._aftermath.dropped.items()},
            "tidegate_breaker_open": {name: s["breaker_open"] for name, s in stats.items() if "breaker_open" in s},
            "tidegate_cache_entries": {name: s["entries"] for name, s in stats.items() if "entries" in s},
        }
