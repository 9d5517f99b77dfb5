"""From one receipt to the spans of one trace: a server span, a child for each stage, a client span for each attempt.

Made after the response is done, with explicit times: on the request path a stage costs a list append. Token usage and
all other `gen_ai.` attributes are on the attempt spans only, because back ends add up the tree.

Most of a span repeats from request to request. That part is a `Shape`, made once and remembered, so that a span costs
its ids, its times and the few attributes of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

import msgspec

from gateway.core.receipt import OWN_ROUTES, Attempt, Receipt
from gateway.telemetry import names
from gateway.telemetry.redact import Pseudonyms

Value = str | int | float | bool | tuple[str, ...]
Pairs = tuple[tuple[str, Value], ...]

INTERNAL, SERVER, CLIENT = 1, 2, 3
"""OTLP's span kinds."""

LONGEST_TEXT = 256
"""Characters of an attribute. What an upstream says of itself (model, ids, finish reasons) has no bound of its own."""
_SHAPES = 2048
_FINE = frozenset({"ok", "cached", "semantic", "canned", "clarify", "handoff", "refused", "blocked"})
_OURS = frozenset({"cut", "gateway_error", "upstream_error"})
"""Outcomes that are errors. What the client did wrong, and a client that left, are not."""


class Shape:
    """What many spans have in common. `wire` is its encoding, kept here by the encoder."""

    __slots__ = ("attributes", "error", "kind", "name", "wire")

    def __init__(self, name: str, kind: int, error: bool, attributes: Pairs) -> None:
        self.name = name[:LONGEST_TEXT]
        self.kind = kind
        self.error = error
        self.attributes = told(attributes)
        self.wire = b""


class SpanData(msgspec.Struct, frozen=True, gc=False):
    """One span, in no library's form. Ids are 16 and 8 bytes, `parent_id` empty for a root; times are Unix nanoseconds."""

    shape: Shape
    trace_id: bytes
    span_id: bytes
    parent_id: bytes
    start: int
    end: int
    own: Pairs = ()
    """Attributes that differ from request to request."""

    @property
    def attributes(self) -> dict[str, Value]:
        return dict((*self.shape.attributes, *self.own))


def told(pairs: tuple[tuple[str, Value | None], ...]) -> Pairs:
    """What is worth saying of these: nothing that is empty, no endless text."""
    out: list[tuple[str, Value]] = []
    for name, value in pairs:
        if value is None or value == "" or value == ():
            continue
        if type(value) is str and len(value) > LONGEST_TEXT:
            value = value[:LONGEST_TEXT]
        elif type(value) is tuple:
            value = tuple(item[:LONGEST_TEXT] for item in value)
        out.append((name, value))
    return tuple(out)


class SpanMaker:
    """Makes the spans of receipts. `types`: the type of each configured provider, by its name."""

    def __init__(self, pseudonyms: Pseudonyms, types: Mapping[str, str], new_id: Callable[[], str]) -> None:
        self._pseudonyms = pseudonyms
        self._providers = {name: names.PROVIDERS.get(kind, kind) for name, kind in types.items()}
        self._new_id = new_id
        self._server_shape = lru_cache(_SHAPES)(_server_shape)
        self._stage_shape = lru_cache(_SHAPES)(_stage_shape)
        self._attempt_shape = lru_cache(_SHAPES)(self._make_attempt_shape)

    def spans(self, receipt: Receipt) -> list[SpanData]:
        """The spans of one exchange, the server span first."""
        trace_id, parent = bytes.fromhex(receipt.trace_id), bytes.fromhex(receipt.span_id)
        opened = receipt.opened
        stage_shape, new_id, blame = self._stage_shape, self._new_id, receipt.outcome in _OURS
        spans = [self._server(receipt, trace_id, parent)]
        spans += [
            SpanData(
                stage_shape(stage.name, stage.outcome, blame),
                trace_id,
                bytes.fromhex(new_id()),
                parent,
                opened + stage.start,
                opened + stage.end,
            )
            for stage in receipt.timeline
        ]
        if receipt.attempts:
            talk = self._pseudonyms.of(receipt.session)
            spans += [self._attempt(receipt, attempt, trace_id, parent, talk) for attempt in receipt.attempts]
        return spans

    def _server(self, receipt: Receipt, trace_id: bytes, span_id: bytes) -> SpanData:
        shape = self._server_shape(
            receipt.dialect,
            receipt.operation,
            receipt.status,
            receipt.outcome,
            receipt.error,
            receipt.route,
            receipt.model,
            receipt.served_model,
            receipt.answer,
            receipt.intent,
            receipt.cache,
            receipt.cache_reason,
            len(receipt.attempts),
        )
        own: tuple[tuple[str, Value | None], ...] = (
            (names.EXCHANGE_ID, receipt.id),
            (names.INTENT_SCORE, receipt.intent_score),
            (names.ACTION, receipt.action or None),
            (names.TIER, receipt.tier),
            (names.TIER_SCORE, receipt.tier_score),
            (names.LEFT_OUT, receipt.left_out),
            (names.CACHE_SIMILARITY, receipt.cache_similarity),
            (names.GUARDRAILS, tuple(verdict.header for verdict in receipt.verdicts)),
            (names.OVERHEAD_MS, receipt.overhead / 1e6 if receipt.overhead is not None else None),
            (names.COST_USD, receipt.cost_usd),
            (names.ESTIMATED_USD, receipt.estimated_usd),
            (names.QUEUED_MS, receipt.queued / 1e6 if receipt.queued else None),
            (names.PRIORITY, receipt.priority if receipt.queued else None),
            (names.BEATS, receipt.beats or None),
            (names.DEGRADED, receipt.degraded),
            (names.HELD_CHARS, receipt.held_chars or None),
            (names.HELD_MS, receipt.held / 1e6 if receipt.held else None),
            (names.TENANT, receipt.tenant),
            (names.KEY, receipt.key_id),
            (names.USER, self._pseudonyms.of(receipt.user)),
        )
        end = receipt.opened + receipt.duration
        parent = bytes.fromhex(receipt.parent_span_id)
        return SpanData(shape, trace_id, span_id, parent, receipt.opened, end, told(own))

    def _attempt(self, receipt: Receipt, attempt: Attempt, trace_id: bytes, parent: bytes, talk: str) -> SpanData:
        shape = self._attempt_shape(
            receipt.operation,
            receipt.stream,
            attempt.provider,
            attempt.model,
            attempt.endpoint,
            attempt.why,
            attempt.outcome,
            attempt.status,
            attempt.finish_reasons,
            attempt.outcome == "cancelled" and receipt.outcome not in _OURS,
        )
        own: list[tuple[str, Value | None]] = [
            (names.RESPONSE_MODEL, attempt.response_model),
            (names.RESPONSE_ID, attempt.response_id),
            (names.UPSTREAM_ID, attempt.upstream_id),
            (names.CONVERSATION_ID, talk),
            (names.TIME_TO_FIRST_CHUNK, attempt.ttft / 1e9 if attempt.ttft is not None else None),
            (names.ATTEMPT_COST_USD, attempt.cost_usd),
            (names.ATTEMPT_REVEALED, attempt.revealed or None),
            (names.ATTEMPT_CAUSE, attempt.cause),
            (names.ATTEMPT_PICKED, attempt.picked),
        ]
        guess = attempt.estimated
        if guess is not None:
            own += (
                (names.ATTEMPT_ESTIMATED_INPUT, guess.input_tokens),
                (names.ATTEMPT_ESTIMATED_OUTPUT, guess.output_tokens),
                (names.ATTEMPT_ESTIMATED_USD, attempt.estimated_usd),
            )
        usage = attempt.usage
        if usage is not None:
            own += (
                (names.INPUT_TOKENS, usage.input_tokens),
                (names.OUTPUT_TOKENS, usage.output_tokens),
                (names.CACHE_READ_TOKENS, usage.cached_tokens or None),
                (names.CACHE_CREATION_TOKENS, usage.cache_write_tokens or None),
                (names.REASONING_TOKENS, usage.reasoning_tokens or None),
            )
        start, end = receipt.opened + attempt.start, receipt.opened + attempt.end
        span_id = bytes.fromhex(attempt.span_id or self._new_id())
        return SpanData(shape, trace_id, span_id, parent, start, end, told(tuple(own)))

    def _make_attempt_shape(
        self,
        operation: str,
        stream: bool,
        provider: str,
        model: str,
        endpoint: str,
        why: str,
        outcome: str,
        status: int | None,
        finish_reasons: tuple[str, ...],
        given_up: bool,
    ) -> Shape:
        """`given_up`: it ended because the client left or another call was faster, which is nobody's error."""
        operation = names.OPERATIONS.get(operation, operation)
        host, _, port = endpoint.rpartition(":") if endpoint.rpartition(":")[2].isdigit() else (endpoint, "", "")
        failed = outcome not in _FINE and not given_up
        pairs: tuple[tuple[str, Value | None], ...] = (
            (names.OPERATION, operation),
            (names.PROVIDER, self._providers.get(provider, provider)),
            (names.REQUEST_MODEL, model),
            (names.REQUEST_STREAM, stream),
            (names.FINISH_REASONS, finish_reasons),
            (names.SERVER_ADDRESS, host.strip("[]")),
            (names.SERVER_PORT, int(port) if port else None),
            (names.HTTP_STATUS, status),
            (names.ATTEMPT_PROVIDER, provider),
            (names.ATTEMPT_WHY, why),
            (names.OUTCOME, outcome),
            (names.ERROR_TYPE, outcome if failed else None),
        )
        return Shape(f"{operation} {model}", CLIENT, failed, told(pairs))


def _stage_shape(name: str, outcome: str, blame: bool) -> Shape:
    return Shape(name, INTERNAL, blame and outcome not in _FINE, ((names.OUTCOME, outcome),))


def _server_shape(
    dialect: str,
    operation: str,
    status: int,
    outcome: str,
    error: str,
    route: str,
    model: str,
    served_model: str,
    answer: str,
    intent: str,
    cache: str,
    cache_reason: str,
    attempts: int,
) -> Shape:
    path = names.PATHS.get((dialect, operation), "/")
    pairs: tuple[tuple[str, Value | None], ...] = (
        (names.HTTP_METHOD, "POST"),
        (names.HTTP_ROUTE, path),
        (names.HTTP_STATUS, status or None),
        (names.ERROR_TYPE, error),
        (names.OUTCOME, outcome),
        (names.ROUTE, route),
        (names.MODEL, model),
        (names.SERVED_MODEL, served_model),
        (names.ANSWER, answer),
        (names.INTENT, intent),
        (names.CACHE, cache),
        (names.CACHE_REASON, cache_reason),
        (names.ATTEMPTS, attempts),
    )
    if route in OWN_ROUTES:  # nobody sent it
        return Shape(route, INTERNAL, outcome in _OURS, told(pairs[3:]))
    return Shape(f"POST {path}", SERVER, status >= 500 or outcome in _OURS, told(pairs))
