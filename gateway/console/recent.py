"""The last receipts, for people to look at. A ring: what falls out is gone, and totals count on."""

from __future__ import annotations

from collections import deque
from typing import Any

from gateway.core.receipt import Attempt, Receipt

_MOST = 500


class Recent:
    """Recorder `console`. Holds the newest `most` receipts and totals since the start."""

    name = "console"
    essential = False

    def __init__(self, most: int = _MOST) -> None:
        self._rows: deque[tuple[int, Receipt]] = deque(maxlen=most)
        self._count = 0
        self._hits = 0
        self._lookups = 0
        self._refused = 0
        self._failed = 0
        self._masked = 0
        self._tokens = 0
        self._cost = 0.0
        self._saved = 0.0
        self._overheads: deque[int] = deque(maxlen=most)

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
        if receipt.usage is not None and receipt.answer == "generated":
            self._tokens += receipt.usage.input_tokens + receipt.usage.output_tokens
        self._cost += receipt.cost_usd or 0.0
        self._saved += receipt.saved_usd or 0.0
        if receipt.overhead is not None:
            self._overheads.append(receipt.overhead)

    def find(self, id: str) -> Receipt | None:
        return next((receipt for _, receipt in reversed(self._rows) if receipt.id == id), None)

    def since(self, after: int) -> dict[str, Any]:
        """Totals, and the receipts numbered above `after`, oldest first."""
        return {
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
                "overhead_p50_ms": _median_ms(self._overheads),
            },
            "receipts": [row_of(number, receipt) for number, receipt in self._rows if number > after],
        }


def _median_ms(values: deque[int]) -> float | None:
    ordered = sorted(values)
    return ordered[len(ordered) // 2] / 1e6 if ordered else None


def row_of(number: int, receipt: Receipt) -> dict[str, Any]:
    """One receipt as the page wants it: milliseconds, and nothing a user wrote (a receipt holds none)."""
    return {
        "number": number,
        "id": receipt.id,
        "opened_ms": receipt.opened // 1_000_000,
        "ms": receipt.duration / 1e6,
        "ttft_ms": receipt.ttft / 1e6 if receipt.ttft is not None else None,
        "overhead_ms": receipt.overhead / 1e6 if receipt.overhead is not None else None,
        "outcome": receipt.outcome,
        "status": receipt.status,
        "error": receipt.error,
        "operation": receipt.operation,
        "stream": receipt.stream,
        "route": receipt.route,
        "model": receipt.model,
        "served_model": receipt.served_model,
        "answer": receipt.answer,
        "intent": receipt.intent,
        "cache": receipt.cache,
        "cache_reason": receipt.cache_reason,
        "cache_similarity": receipt.cache_similarity,
        "guardrails": [
            {
                "check": v.check,
                "action": v.action,
                "side": v.side,
                "count": v.count,
                "ms": v.micros / 1000,
                "reason": v.reason,
            }
            for v in receipt.verdicts
        ],
        "tokens_in": receipt.usage.input_tokens if receipt.usage else None,
        "tokens_out": receipt.usage.output_tokens if receipt.usage else None,
        "cost_usd": receipt.cost_usd,
        "trace_id": receipt.trace_id,
        "degraded": receipt.degraded,
        "bars": [
            {"name": s.name, "kind": "stage", "start_ms": s.start / 1e6, "end_ms": s.end / 1e6, "outcome": s.outcome}
            for s in receipt.timeline
        ]
        + [_bar(attempt) for attempt in receipt.attempts],
    }


def _bar(attempt: Attempt) -> dict[str, Any]:
    return {
        "name": f"{attempt.provider} / {attempt.model}",
        "kind": "attempt",
        "why": attempt.why,
        "start_ms": attempt.start / 1e6,
        "end_ms": attempt.end / 1e6,
        "first_ms": (attempt.start + attempt.ttft) / 1e6 if attempt.ttft is not None else None,
        "outcome": attempt.outcome,
    }
