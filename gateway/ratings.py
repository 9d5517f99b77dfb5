"""Feedback's parts, put together: whose exchange it was, what is counted and logged, and what the caches do about it."""

from __future__ import annotations

import asyncio
from typing import Any

from cache.build import Caches
from cache.stores import StoreDown
from gateway.console.recent import Recent
from gateway.core.clock import SystemClock
from gateway.core.ports import Limiter
from gateway.doors import Doors
from gateway.feedback.known import Known, Remembered
from gateway.feedback.rating import Rating
from gateway.http.feedback import Ratings
from gateway.pipeline.aftermath import Aftermath
from gateway.telemetry.metrics import Metrics


def remembered(caches: Caches, keep: float) -> Remembered:
    return Remembered(caches.redis.call if caches.redis is not None else None, keep=keep)


def ratings(
    known: Remembered,
    doors: Doors,
    limiter: Limiter,
    caches: Caches,
    aftermath: Aftermath,
    metrics: Metrics,
    recent: Recent,
    logger: Any,
) -> Ratings:
    def told(id: str, key_id: str, exchange: Known, rating: Rating, new: bool) -> None:
        recent.rate(id, rating)
        if new:
            metrics.feedback(exchange.route, rating.rating)
        line: dict[str, Any] = {"id": id, "route": exchange.route, "cache": exchange.cache, "rating": rating.rating}
        line |= {"key": key_id, "tags": len(rating.tags), "comment_chars": len(rating.comment)}
        if rating.score is not None:
            line["score"] = rating.score
        logger.info("feedback", **line)

    return Ratings(
        doors.principal,
        known,
        limiter,
        _Wrong(caches),
        SystemClock(),
        mask=_masked,
        settle=aftermath.drain,
        told=told,
    )


class _Wrong:
    """`gateway.http.feedback.Forget`."""

    def __init__(self, caches: Caches) -> None:
        self._caches = caches

    async def wrong(self, exchange_id: str, entry: str) -> bool:
        """What another process served is counted there; the entry goes all the same."""
        try:
            counted = bool(exchange_id) and await self._caches.judge(exchange_id, False) == "known"
            gone = bool(entry) and await self._caches.evict(entry)
        except StoreDown:
            return False
        return counted or gone


async def _masked(text: str) -> str:
    from guardrails.private.masked import masked

    return await asyncio.to_thread(masked, text)
