"""What is known of every endpoint, as rows for an operator and as gauges. Nothing is asked for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from gateway.core.clock import Clock
from gateway.pools.endpoint import Endpoint
from gateway.providers.watch_pool import Member, PoolWatch

MOST_LABELLED = 256
"""Endpoints with gauges of their own, over all pools; those beyond are only counted."""
LABELS: Mapping[str, str | tuple[str, ...]] = {
    "tidegate_endpoint_in_flight": ("provider", "endpoint"),
    "tidegate_endpoint_tokens_in_flight": ("provider", "endpoint"),
    "tidegate_endpoint_expected_ttft_seconds": ("provider", "endpoint"),
    "tidegate_endpoint_blocks_held": ("provider", "endpoint"),
    "tidegate_endpoint_well": ("provider", "endpoint"),
    "tidegate_endpoint_draining": ("provider", "endpoint"),
    "tidegate_endpoint_waiting": ("provider", "endpoint"),
    "tidegate_endpoint_running": ("provider", "endpoint"),
    "tidegate_endpoint_kv_share": ("provider", "endpoint"),
    "tidegate_endpoint_reading_age_seconds": ("provider", "endpoint"),
    "tidegate_endpoints": "provider",
    "tidegate_engine_metric_missing": ("provider", "name"),
    "tidegate_scrapes_failed_total": "provider",
    "tidegate_lookups_failed_total": "provider",
    "tidegate_leases_forgotten_total": "provider",
    "tidegate_pool_news_failed_total": (),
}
"""The labels of each gauge."""

Readings = dict[str, dict[str | tuple[str, ...], float]]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One endpoint. Everything that its engine does not tell is null."""

    provider: str
    endpoint: str
    url: str
    in_flight: int
    tokens_in_flight: float
    """Of the prompts that have given no answer yet, what is not in its cache by our estimates."""
    blocks_held: int
    """Blocks that we think its prefix cache holds."""
    breaker: str
    """`closed`; `open`: it failed, and is left alone for a while; `trying`: one call proves it."""
    well: bool
    why_ill: str
    draining: bool
    drained_by_operator: bool
    leaving: bool
    """Its name has it no more."""
    expected_ttft: float
    """Seconds; 0 when nothing is known."""
    reading_age: float | None
    """Seconds since its metrics were read; null where they never were."""
    stale: bool
    metrics_trouble: str
    waiting: float | None
    running: float | None
    kv: float | None
    blocks: int | None
    block_tokens: int | None
    slots: int | None
    started: float | None
    adapters: list[str]
    most_adapters: int | None
    missing: list[str]
    """Names that its engine should tell and does not."""


def row_of(pool: PoolWatch, member: Member, now: int) -> Row:
    endpoint, watch = member.endpoint, member.watch
    read = pool.ways.metrics is not None
    reading = endpoint.reading if read else None
    breaker = "closed"
    if endpoint.resting_until:
        breaker = "open" if now < endpoint.resting_until and not endpoint.probing else "trying"
    return Row(
        provider=pool.name,
        endpoint=endpoint.label,
        url=endpoint.url,
        in_flight=endpoint.in_flight,
        tokens_in_flight=round(endpoint.unread, 1),
        blocks_held=len(endpoint.known.held),
        breaker=breaker,
        well=endpoint.healthy,
        why_ill=watch.ill if not endpoint.healthy else "",
        draining=endpoint.draining,
        drained_by_operator=member.drained,
        leaving=member.leaving is not None,
        expected_ttft=round(endpoint.expected(now), 4),
        reading_age=round((now - reading.at) / 1e9, 3) if reading else None,
        stale=read and (reading is None or reading.stale(now)),
        metrics_trouble=watch.trouble,
        waiting=reading.waiting if reading else None,
        running=reading.running if reading else None,
        kv=reading.kv if reading else None,
        blocks=reading.blocks if reading else None,
        block_tokens=reading.block_tokens if reading else None,
        slots=reading.slots if reading else None,
        started=reading.started if reading else None,
        adapters=sorted(reading.adapters) if reading else [],
        most_adapters=reading.most_adapters if reading else None,
        missing=sorted(watch.missing),
    )


def rows(pools: Iterable[PoolWatch], clock: Clock) -> list[Row]:
    now = clock.now()
    return [row_of(pool, member, now) for pool in pools for member in pool.members.values()]


def readings(pools: Iterable[PoolWatch], clock: Clock) -> Readings:
    """The first `MOST_LABELLED` endpoints have gauges of their own."""
    out: Readings = {name: {} for name in LABELS}
    now = clock.now()
    room = MOST_LABELLED
    for pool in pools:
        out["tidegate_endpoints"][pool.name] = float(len(pool.members))
        out["tidegate_scrapes_failed_total"][pool.name] = float(pool.failed_scrapes)
        out["tidegate_leases_forgotten_total"][pool.name] = float(pool.endpoints.forgotten)
        if pool.discovery is not None:
            out["tidegate_lookups_failed_total"][pool.name] = float(pool.failed_lookups)
        for name in pool.expected:
            out["tidegate_engine_metric_missing"][pool.name, name] = float(pool.missing[name])
        shown = list(pool.members.values())[:room]
        labels = Counter(member.endpoint.label for member in shown)
        for member in shown:
            endpoint = member.endpoint
            alone = labels[endpoint.label] == 1  # else they differ by their paths
            at = (pool.name, endpoint.label if alone else endpoint.url.partition("://")[2])
            _gauges(out, at, endpoint, now, read=pool.ways.metrics is not None)
        room -= min(room, len(pool.members))
    return out


def _gauges(out: Readings, at: tuple[str, str], endpoint: Endpoint, now: int, *, read: bool) -> None:
    reading = endpoint.reading if read else None
    out["tidegate_endpoint_in_flight"][at] = float(endpoint.in_flight)
    out["tidegate_endpoint_tokens_in_flight"][at] = endpoint.unread
    out["tidegate_endpoint_expected_ttft_seconds"][at] = endpoint.expected(now)
    out["tidegate_endpoint_blocks_held"][at] = float(len(endpoint.known.held))
    out["tidegate_endpoint_well"][at] = float(endpoint.healthy)
    out["tidegate_endpoint_draining"][at] = float(endpoint.draining)
    if reading is not None:
        out["tidegate_endpoint_reading_age_seconds"][at] = (now - reading.at) / 1e9
        told = (("waiting", reading.waiting), ("running", reading.running), ("kv_share", reading.kv))
        for name, value in told:
            if value is not None:
                out[f"tidegate_endpoint_{name}"][at] = value
