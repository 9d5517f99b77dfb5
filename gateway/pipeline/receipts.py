"""From an exchange that has ended to the one frozen record of it."""

from __future__ import annotations

from gateway.core.exchange import Exchange
from gateway.core.priority import PRIORITIES
from gateway.core.receipt import Outcome, Receipt


def receipt_of(exchange: Exchange, outcome: Outcome, error: str, status: int) -> Receipt:
    """Everything worth keeping of an exchange. No user text: names, counts, times and ids only."""
    request, plan, principal, cache = exchange.request, exchange.plan, exchange.principal, exchange.cache
    answer = exchange.answer
    return Receipt(
        id=exchange.id,
        opened=exchange.opened,
        duration=exchange.elapsed(),
        outcome=outcome,
        status=status,
        error=error,
        dialect=exchange.dialect,
        operation=exchange.operation,
        stream=request.stream if request else False,
        route=exchange.route,
        model=request.model if request and exchange.permitted else "",
        served_model=exchange.served_model or (plan.alias if plan else ""),
        answer=answer.kind if answer else ("generated" if outcome == "ok" else ""),
        intent=exchange.intent,
        intent_score=exchange.intent_score,
        action=exchange.action,
        tier=exchange.tier,
        tier_score=exchange.tier_score,
        left_out=tuple(exchange.left_out),
        cache=cache.result,
        cache_id=cache.id,
        cache_reason=cache.reason,
        cache_similarity=cache.similarity,
        cache_age=cache.age,
        verdicts=tuple(exchange.verdicts),
        attempts=tuple(exchange.attempts),
        timeline=tuple(exchange.timeline),
        usage=exchange.usage,
        charges=tuple(exchange.charges),
        cost_usd=exchange.cost_usd,
        estimated_usd=exchange.estimated_usd,
        saved_usd=exchange.saved_usd,
        baseline_usd=exchange.baseline_usd,
        bytes_in=exchange.bytes_in,
        bytes_out=exchange.bytes_out,
        ttft=exchange.ttft,
        overhead=exchange.ttft - exchange.waited if exchange.ttft is not None else None,
        priority=PRIORITIES[exchange.priority],
        queued=exchange.queued,
        beats=exchange.beats,
        shadow=exchange.shadow,
        held_chars=exchange.held_chars,
        held=exchange.held,
        handoff=exchange.handoff.team if exchange.handoff else "",
        handoff_reason=exchange.handoff.reason if exchange.handoff else "",
        tenant=principal.tenant,
        key_id=principal.key_id,
        user=exchange.user,
        session=exchange.session,
        tags=exchange.tags,
        trace_id=exchange.trace.trace_id,
        span_id=exchange.trace.span_id,
        parent_span_id=exchange.trace.parent,
        sampled=exchange.trace.sampled,
        degraded=tuple(exchange.degraded),
        warnings=tuple(exchange.warnings),
    )
