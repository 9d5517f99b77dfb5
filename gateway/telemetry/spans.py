"""From one receipt to the spans of one trace: a server span, a child for each stage, a client span for each attempt.

Made after the response is done, with explicit times: on the request path a stage costs a list append. Token usage is
on the attempt spans only, because back ends add up the tree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from gateway.core.receipt import Attempt, Receipt
from gateway.telemetry import names
from gateway.telemetry.redact import Pseudonyms

Value = str | int | float | bool | tuple[str, ...]

INTERNAL, SERVER, CLIENT = 1, 2, 3
"""OTLP's span kinds."""

_FINE = ("ok", "cached", "semantic", "canned", "clarify", "handoff", "refused", "blocked")


class SpanData(msgspec.Struct, frozen=True):
    """One span, in no library's form. Ids are lower-case hex; times are Unix nanoseconds."""

    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    start: int
    end: int
    attributes: dict[str, Value]
    error: bool = False


def spans_of(receipt: Receipt, pseudonyms: Pseudonyms, new_id: Callable[[], str]) -> list[SpanData]:
    """The spans of one exchange, the server span first."""
    spans = [_server(receipt, pseudonyms)]
    for stage in receipt.timeline:
        attributes: dict[str, Value] = {names.OUTCOME: stage.outcome}
        spans.append(
            SpanData(
                stage.name,
                INTERNAL,
                receipt.trace_id,
                new_id(),
                receipt.span_id,
                receipt.opened + stage.start,
                receipt.opened + stage.end,
                attributes,
                stage.outcome not in _FINE,
            )
        )
    spans.extend(_attempt(receipt, attempt) for attempt in receipt.attempts)
    return spans


def _server(receipt: Receipt, pseudonyms: Pseudonyms) -> SpanData:
    path = names.PATHS.get((receipt.dialect, receipt.operation), "/")
    attributes: dict[str, Value] = {
        names.HTTP_METHOD: "POST",
        names.HTTP_ROUTE: path,
        names.HTTP_STATUS: receipt.status,
        names.EXCHANGE_ID: receipt.id,
        names.OUTCOME: receipt.outcome,
        names.CACHE: receipt.cache,
        names.ATTEMPTS: len(receipt.attempts),
    }
    optional: Sequence[tuple[str, Value | None]] = (
        (names.ROUTE, receipt.route),
        (names.REQUEST_MODEL, receipt.model),
        (names.SERVED_MODEL, receipt.served_model),
        (names.ANSWER, receipt.answer),
        (names.INTENT, receipt.intent),
        (names.INTENT_SCORE, receipt.intent_score),
        (names.CACHE_REASON, receipt.cache_reason),
        (names.CACHE_SIMILARITY, receipt.cache_similarity),
        (names.GUARDRAILS, tuple(verdict.header for verdict in receipt.verdicts)),
        (names.OVERHEAD_MS, receipt.overhead / 1e6 if receipt.overhead is not None else None),
        (names.COST_USD, receipt.cost_usd),
        (names.DEGRADED, receipt.degraded),
        (names.HELD_CHARS, receipt.held_chars or None),
        (names.TENANT, receipt.tenant),
        (names.KEY, receipt.key_id),
        (names.USER, pseudonyms.of(receipt.user)),
        (names.CONVERSATION_ID, pseudonyms.of(receipt.session)),
        (names.ERROR_TYPE, receipt.error),
    )
    attributes.update((name, value) for name, value in optional if value not in (None, "", ()))
    return SpanData(
        f"POST {path}",
        SERVER,
        receipt.trace_id,
        receipt.span_id,
        receipt.parent_span_id,
        receipt.opened,
        receipt.opened + receipt.duration,
        attributes,
        receipt.status >= 500 or receipt.outcome in ("cut", "gateway_error", "upstream_error"),
    )


def _attempt(receipt: Receipt, attempt: Attempt) -> SpanData:
    operation = names.OPERATIONS.get(receipt.operation, receipt.operation)
    host, _, port = attempt.endpoint.rpartition(":")
    attributes: dict[str, Value] = {
        names.OPERATION: operation,
        names.PROVIDER: attempt.provider,
        names.REQUEST_MODEL: attempt.model,
        names.REQUEST_STREAM: receipt.stream,
        names.ATTEMPT_WHY: attempt.why,
        names.OUTCOME: attempt.outcome,
    }
    usage = attempt.usage
    optional: Sequence[tuple[str, Value | None]] = (
        (names.RESPONSE_MODEL, attempt.response_model),
        (names.RESPONSE_ID, attempt.upstream_id),
        (names.FINISH_REASONS, attempt.finish_reasons),
        (names.TIME_TO_FIRST_CHUNK, attempt.ttft / 1e9 if attempt.ttft is not None else None),
        (names.SERVER_ADDRESS, host),
        (names.SERVER_PORT, int(port) if port.isdigit() else None),
        (names.HTTP_STATUS, attempt.status),
        (names.INPUT_TOKENS, usage.input_tokens if usage else None),
        (names.OUTPUT_TOKENS, usage.output_tokens if usage else None),
        (names.CACHE_READ_TOKENS, (usage.cached_tokens or None) if usage else None),
        (names.CACHE_CREATION_TOKENS, (usage.cache_write_tokens or None) if usage else None),
        (names.REASONING_TOKENS, (usage.reasoning_tokens or None) if usage else None),
        (names.ERROR_TYPE, attempt.outcome if attempt.outcome not in _FINE else None),
    )
    attributes.update((name, value) for name, value in optional if value not in (None, "", ()))
    return SpanData(
        f"{operation} {attempt.model}",
        CLIENT,
        receipt.trace_id,
        attempt.span_id,
        receipt.span_id,
        receipt.opened + attempt.start,
        receipt.opened + attempt.end,
        attributes,
        attempt.outcome not in _FINE,
    )
