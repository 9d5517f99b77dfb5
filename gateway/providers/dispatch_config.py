"""Sections of one entry of `models:` that say how it is called: how long, how often, how many at once."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import msgspec

from gateway.core.units import Duration

SHORTEST_SILENCE = 0.001
MOST_PLACES = 100_000
LONGEST_QUEUE = 100_000


class TimeoutsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`connect`, `ttft` (streams: first token), `idle` (streams: between tokens), `total` (one attempt)."""

    connect: Duration = Duration(5.0)
    ttft: Duration = Duration(60.0)
    idle: Duration = Duration(60.0)
    total: Duration = Duration(600.0)


class RetryConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`attempts` within the model's own targets, the first included."""

    attempts: int = 2
    max_wait: Duration = Duration(10.0)


class HedgeConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A second call, of the next target, when the first has given no content for `after`. The first to give some is the
    answer; the other is dropped, and costs what its provider charges for it. At most one call in ten is hedged, beyond a
    burst of ten. An answer that is not streamed gives its first content when it is whole: choose `after` accordingly."""

    after: Duration


class QueueConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where requests wait for one of a model's places, in each process."""

    max: int = 100
    """Requests that may wait. When it is full, the lowest priority makes room."""
    ttl: Duration = Duration(10.0)
    """How long one may wait."""


class ShadowConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Another model gets a copy of some requests after their answers: nobody sees what it says, its receipts tell how it
    did. The operator pays for it."""

    model: str
    """A key of `models:`."""
    share: float
    """Of the requests: 0.05 is one in twenty."""


def shadow_problems(alias: str, shadow: ShadowConfig | None, aliases: Collection[str]) -> Iterable[tuple[str, str]]:
    if shadow is None:
        return
    if shadow.model == alias:
        yield "shadow.model", "a model cannot be its own shadow"
    elif shadow.model not in aliases:
        yield "shadow.model", f"there is no model {shadow.model!r}"
    if not 0 < shadow.share <= 1:
        yield "shadow.share", f"{shadow.share:g} is not above 0 and up to 1"


def timing_problems(
    timeouts: TimeoutsConfig, retry: RetryConfig, hedge: HedgeConfig | None, keepalive: float | None
) -> Iterable[tuple[str, str]]:
    for name in ("connect", "ttft", "idle", "total"):
        if getattr(timeouts, name) <= 0:
            yield f"timeouts.{name}", "must be more than 0"
    if keepalive is not None and 0 < keepalive < SHORTEST_SILENCE:
        yield "keepalive", "must be at least 1ms; 0 means never"
    if not 1 <= retry.attempts <= 10:
        yield "retry.attempts", "must be 1 to 10; the first try is counted"
    if hedge is not None and not 0 < hedge.after < timeouts.total:
        yield "hedge.after", f"must be more than 0 and less than timeouts.total ({timeouts.total:g} s)"


def queue_problems(concurrency: int | None, queue: QueueConfig | None) -> Iterable[tuple[str, str]]:
    if concurrency is not None and not 1 <= concurrency <= MOST_PLACES:
        yield "concurrency", f"must be 1 to {MOST_PLACES}; leave it out for no bound"
    if queue is None:
        return
    if concurrency is None:
        yield "queue", "nobody would ever wait in it; give the model a concurrency"
    if not 0 <= queue.max <= LONGEST_QUEUE:
        yield "queue.max", f"must be 0 to {LONGEST_QUEUE}; 0 lets nobody wait"
    if queue.ttl <= 0:
        yield "queue.ttl", "must be more than 0"
