"""The last receipts, for people to look at. A ring: what falls out is gone, and totals count on."""

from __future__ import annotations

import secrets
from collections import deque
from typing import Any

from gateway.core.events import Usage
from gateway.core.receipt import Attempt, Receipt, Stage
from gateway.core.verdict import Verdict
from gateway.feedback.rating import Rating

MOST = 500
MOST_AT_ONCE = 200
_LATELY = 30_000_000_000
"""Nanoseconds: three times the longest pause between two looks of the page."""
"""Receipts in one answer of the API."""


class Recent:
    """Recorder `console`. Holds the newest `most` receipts and totals since the start."""

    name = "console"
    essential = False

    def __init__(self, most: int = MOST) -> None:
        self.instance = secrets.token_hex(4)
        """Tells a page that it talks to another process, or to this one after a restart: numbers begin again."""
        self._rows: deque[tuple[int, Receipt]] = deque(maxlen=most)
        self._ratings: dict[str, Rating] = {}
        self._overheads: deque[int] = deque(maxlen=most)
        self._count = self._hits = self._lookups = self._refused = self._failed = self._masked = self._tokens = 0
        self._cost = self._saved = self._baseline = self._compared = 0.0

    def __len__(self) -> int:
        return len(self._rows)

    async def record(self, receipt: Receipt) -> None:
        self._count += 1
        self._rows.append((self._count, receipt))
        if receipt.cache != "bypass":
            self._lookups += 1
            self._hits += receipt.cache in ("hit", "semantic")
        self._refused += receipt.outcome == "refused"
        self._failed += receipt.outcome in ("gateway_error", "upstream_error", "cut")
        self._masked += sum(verdict.count for verdict in receipt.verdicts if verdict.action == "mask")
        for attempt in receipt.attempts:
            if attempt.usage is not None:
                self._tokens += attempt.usage.input_tokens + attempt.usage.output_tokens
        self._cost += receipt.cost_usd or 0.0
        self._saved += receipt.saved_usd or 0.0
        if receipt.baseline_usd is not None:
            self._baseline += receipt.baseline_usd
            self._compared += receipt.cost_usd or 0.0
        if receipt.overhead is not None:
            self._overheads.append(receipt.overhead)

    def rate(self, id: str, rating: Rating) -> None:
        """Joins what somebody thinks of an answer to its receipt."""
        self._ratings[id] = rating
        while len(self._ratings) > MOST:
            del self._ratings[next(iter(self._ratings))]

    def rating(self, id: str) -> Rating | None:
        return self._ratings.get(id)

    def find(self, id: str) -> Receipt | None:
        return next((receipt for _, receipt in reversed(self._rows) if receipt.id == id), None)

    def since(self, after: int) -> dict[str, Any]:
        """Totals, and the newest receipts numbered above `after`, oldest first."""
        first = max(after, self._count - MOST_AT_ONCE)
        return {
            "instance": self.instance,
            "last": self._count,
            "totals": {
                "requests": self._count,
                "hits": self._hits,
                "lookups": self._lookups,
                "refused": self._refused,
                "failed": self._failed,
                "masked": self._masked,
                "tokens": self._tokens,
                "cost_usd": self._cost,
                "saved_usd": self._saved,
                "baseline_usd": self._baseline,
                "baseline_spent_usd": self._compared,
                "overhead_p50_ms": _median_ms(self._overheads),
            },
            "ratings": self._said_lately(),
            "receipts": [
                row_of(number, receipt) | {"rating": self._word(receipt.id)}
                for number, receipt in self._rows
                if number > first
            ],
        }

    def _said_lately(self) -> dict[str, str]:
        """Ratings come after their rows were told; a page that asks now and then hears each of them."""
        newest = max((rating.at for rating in self._ratings.values()), default=0)
        return {id: rating.rating for id, rating in self._ratings.items() if rating.at > newest - _LATELY}

    def _word(self, id: str) -> str:
        rating = self._ratings.get(id)
        return rating.rating if rating is not None else ""


def _median_ms(values: deque[int]) -> float | None:
    ordered = sorted(values)
    return ordered[len(ordered) // 2] / 1e6 if ordered else None


def _ms(nanoseconds: int | None) -> float | None:
    return nanoseconds / 1e6 if nanoseconds is not None else None


def row_of(number: int, receipt: Receipt) -> dict[str, Any]:
    """One receipt as the page wants it: milliseconds, and nothing a user wrote. Who asked is told by the key's id; the
    names of users, sessions and tags are not told."""
    return {
        "number": number,
        "id": receipt.id,
        "opened_ms": receipt.opened // 1_000_000,
        "ms": _ms(receipt.duration),
        "ttft_ms": _ms(receipt.ttft),
        "overhead_ms": _ms(receipt.overhead),
        "outcome": receipt.outcome,
        "status": receipt.status,
        "error": receipt.error,
        "dialect": receipt.dialect,
        "operation": receipt.operation,
        "stream": receipt.stream,
        "route": receipt.route,
        "model": receipt.model,
        "served_model": receipt.served_model,
        "answer": receipt.answer,
        "intent": receipt.intent,
        "intent_score": receipt.intent_score,
        "action": receipt.action,
        "tier": receipt.tier,
        "tier_score": receipt.tier_score,
        "left_out": receipt.left_out,
        "cache": receipt.cache,
        "cache_reason": receipt.cache_reason,
        "cache_similarity": receipt.cache_similarity,
        "cache_age": receipt.cache_age,
        "guardrails": [_check(verdict) for verdict in receipt.verdicts],
        "usage": _usage(receipt.usage),
        "cost_usd": receipt.cost_usd,
        "estimated_usd": receipt.estimated_usd,
        "queued_ms": _ms(receipt.queued or None),
        "beats": receipt.beats,
        "shadow": receipt.shadow,
        "saved_usd": receipt.saved_usd,
        "baseline_usd": receipt.baseline_usd,
        "held_chars": receipt.held_chars,
        "held_ms": _ms(receipt.held),
        "key": receipt.key_id,
        "tenant": receipt.tenant,
        "trace_id": receipt.trace_id,
        "degraded": receipt.degraded,
        "warnings": receipt.warnings,
        "stages": [_stage(stage) for stage in receipt.timeline],
        "attempts": [_attempt(attempt) for attempt in receipt.attempts],
    }


def _check(verdict: Verdict) -> dict[str, Any]:
    return {
        "check": verdict.check,
        "action": verdict.action,
        "side": verdict.side,
        "count": verdict.count,
        "category": verdict.category,
        "score": verdict.score,
        "reason": verdict.reason,
        "ms": verdict.micros / 1000,
    }


def _stage(stage: Stage) -> dict[str, Any]:
    return {"name": stage.name, "start_ms": _ms(stage.start), "end_ms": _ms(stage.end), "outcome": stage.outcome}


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "provider": attempt.provider,
        "model": attempt.model,
        "endpoint": attempt.endpoint,
        "why": attempt.why,
        "cause": attempt.cause,
        "picked": attempt.picked,
        "estimated": _usage(attempt.estimated),
        "estimated_usd": attempt.estimated_usd,
        "revealed": attempt.revealed,
        "start_ms": _ms(attempt.start),
        "end_ms": _ms(attempt.end),
        "first_ms": _ms(attempt.start + attempt.ttft) if attempt.ttft is not None else None,
        "outcome": attempt.outcome,
        "status": attempt.status,
        "usage": _usage(attempt.usage),
        "cost_usd": attempt.cost_usd,
    }


def _usage(usage: Usage | None) -> dict[str, int] | None:
    if usage is None:
        return None
    return {
        "input": usage.input_tokens,
        "output": usage.output_tokens,
        "cached": usage.cached_tokens,
        "reasoning": usage.reasoning_tokens,
    }
