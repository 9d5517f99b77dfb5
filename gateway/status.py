"""How the gateway is doing, for `/readyz` and the gauges of `/metrics`: from state already known, nothing is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from cache.build import Caches
from gateway.core.ports import Limiter
from gateway.handover.desk import Desk
from gateway.pipeline.aftermath import Aftermath
from gateway.pipeline.places import Gates
from gateway.pipeline.shadowing import Shadows
from gateway.pipeline.spine import Spine
from gateway.providers import watch_rows
from gateway.providers.watch import Pools
from gateway.telemetry.traces import Traces

if TYPE_CHECKING:
    from gateway.embedding.remote import RemoteEmbed

LABELS: dict[str, str | tuple[str, ...]] = {
    "tidegate_receipts_dropped_total": "kind",
    "tidegate_handovers_total": "outcome",
    "tidegate_breaker_open": "dependency",
    "tidegate_cache_entries": "store",
    "tidegate_coalescing_total": "event",
    "tidegate_embedding_total": "event",
    "tidegate_semantic_wrong_bound": "route",
    "tidegate_semantic_serving": "route",
    "tidegate_semantic_agreements_total": "route",
    "tidegate_semantic_disagreements_total": "route",
    "tidegate_semantic_unclear_total": "route",
    "tidegate_guardrail_entries": "check",
    "tidegate_queue_depth": "model",
    "tidegate_shadows_total": "outcome",
    "tidegate_queue_running": "model",
    "tidegate_queue_refused_total": ("model", "why"),
    **watch_rows.LABELS,
}
"""The labels of each reading that has any."""


_EVENTS = ("coalesced", "handovers", "led", "followed", "served", "promoted", "waited_out", "unreached", "alone")
"""Of identical requests that wait for each other. From `led` on: among processes, over Redis."""

Stats = Mapping[str, Mapping[str, float]]


class Status:
    def __init__(
        self,
        spine: Spine,
        aftermath: Aftermath,
        caches: Caches,
        limiter: Limiter,
        pools: Pools,
        traces: Traces | None,
        desk: Desk,
        checks: Callable[[], Stats],
        embed: RemoteEmbed | None = None,
        gates: Gates | None = None,
        shadows: Shadows | None = None,
    ) -> None:
        """`checks`: `entries` and `breaker_open` of the guardrails, by name. `embed`: the provider that embeds, if any.
        `gates`: of the models that serve so many at once."""
        self._gates = gates
        self._shadows = shadows
        self._embed = embed
        self._pools = pools
        self._traces = traces
        self._spine = spine
        self._aftermath = aftermath
        self._caches = caches
        self._limiter = limiter
        self._desk = desk
        self._checks = checks

    def degraded(self) -> dict[str, str]:
        """Each part that is out of order, and what is wrong with it."""
        out = {}
        for name, stats in self._caches.stats().items():
            if stats.get("breaker_open"):
                out[name] = "out of reach; its breaker is open"
        for name, stats in self._checks().items():
            if stats.get("breaker_open"):
                out[f"guardrail:{name}"] = "fails again and again, and is left alone for a while; its breaker is open"
        if self._embed is not None and self._embed.stats()["breaker_open"]:
            out["embedding"] = f"no vectors: {self._embed.trouble}; its breaker is open"
        out |= self._pools.degraded()
        if self._limiter.degraded:
            out["limits"] = "counted in this process only: Redis is out of reach"
        if self._traces is not None and self._traces.outbox.resting:
            out["traces"] = "the collector is out of reach; spans wait, and are dropped when there is no more room"
        return out

    def readings(self) -> Mapping[str, Mapping[Any, float]]:
        return self._pools.readings() | self._queues() | self._counted()

    def _shadowed(self) -> dict[Any, float]:
        shadows = self._shadows
        return {} if shadows is None else {"made": float(shadows.made), "dropped": float(shadows.dropped)}

    def _queues(self) -> dict[str, dict[Any, float]]:
        """Of models with a bound that have been asked for."""
        gates = self._gates.all() if self._gates is not None else {}
        return {
            "tidegate_queue_depth": {alias: float(gate.waiting) for alias, gate in gates.items()},
            "tidegate_queue_running": {alias: float(gate.running) for alias, gate in gates.items()},
            "tidegate_shadows_total": self._shadowed(),
            "tidegate_queue_refused_total": {
                (alias, why): float(count) for alias, gate in gates.items() for why, count in gate.refused.items()
            },
        }

    def _counted(self) -> dict[str, dict[Any, float]]:
        stats = self._caches.stats()
        return self._evidence(stats) | {
            "tidegate_inflight_requests": {"": float(self._spine.inflight)},
            "tidegate_receipts_queued": {"": float(len(self._aftermath))},
            "tidegate_receipts_dropped_total": self._dropped(stats),
            "tidegate_handovers_queued": {"": float(len(self._desk))},
            "tidegate_handovers_total": {"told": float(self._desk.told), "lost": float(self._desk.lost)},
            "tidegate_breaker_open": self._breakers(stats),
            "tidegate_guardrail_entries": {n: s["entries"] for n, s in self._checks().items() if "entries" in s},
            "tidegate_coalescing_total": _coalescing(stats),
            "tidegate_embedding_total": self._embedding(),
            "tidegate_cache_entries": {name: s["entries"] for name, s in stats.items() if "entries" in s},
        }

    def _evidence(self, stats: Stats) -> dict[str, dict[str, float]]:
        """What is known of each route's near answers. The counts are of this process; the bound is of all evidence."""
        known = {name.removesuffix(".evidence"): s for name, s in stats.items() if name.endswith(".evidence")}
        return {
            "tidegate_semantic_wrong_bound": {route: s["wrong_bound"] for route, s in known.items()},
            "tidegate_semantic_serving": {route: s["serving"] for route, s in known.items()},
            "tidegate_semantic_agreements_total": {route: s["agreements"] for route, s in known.items()},
            "tidegate_semantic_disagreements_total": {route: s["disagreements"] for route, s in known.items()},
            "tidegate_semantic_unclear_total": {route: s["unclear"] for route, s in known.items()},
        }

    def _embedding(self) -> dict[str, float]:
        """Calls of the provider that embeds, those that failed, and texts sent."""
        if self._embed is None:
            return {}
        stats = self._embed.stats()
        return {event: stats[event] for event in ("calls", "failures", "texts")}

    def _dropped(self, stats: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
        """By recorder. Cache writes are dropped under load by design, so they have a kind of their own."""
        out = {name: float(count) for name, count in self._aftermath.dropped.items()}
        out["cache_writes"] = float(stats["writer"]["dropped"])
        if self._traces is not None:
            out[self._traces.name] += self._traces.outbox.dropped
        return out

    def _breakers(self, stats: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
        """1 for what is left alone because it failed. An endpoint of a provider is named `provider@host:port`."""
        out = {name: s["breaker_open"] for name, s in stats.items() if "breaker_open" in s}
        checks = self._checks()
        out |= {f"guardrail:{name}": s["breaker_open"] for name, s in checks.items() if "breaker_open" in s}
        if self._embed is not None:
            out["embedding"] = self._embed.stats()["breaker_open"]
        for name, pool in self._pools.all.items():
            for endpoint in pool.endpoints.all[: watch_rows.MOST_LABELLED]:
                out[f"{name}@{endpoint.label}"] = float(endpoint.resting_until > 0)
        if self._traces is not None:
            out["collector"] = float(self._traces.outbox.resting)
        return out


def _coalescing(stats: Stats) -> dict[str, float]:
    """Over all routes, since the start. Every event is there, seen or not, so that rates begin at zero."""
    routes = [counts for name, counts in stats.items() if name.endswith(".coalescing")]
    return {event: sum(counts.get(event, 0.0) for counts in routes) for event in _EVENTS}
