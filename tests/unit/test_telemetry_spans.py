"""From a receipt to spans, and from spans to OTLP's bytes."""

from __future__ import annotations

from itertools import chain
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans as sdk_encode
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes, server_attributes
from opentelemetry.semconv.attributes import error_attributes, http_attributes

from gateway.core.exchange import new_span_id
from gateway.core.receipt import JUDGE, Receipt, Stage
from gateway.telemetry import names
from gateway.telemetry.otlp import encode_request, encode_spans, varint
from gateway.telemetry.redact import Pseudonyms
from gateway.telemetry.spans import CLIENT, INTERNAL, LONGEST_TEXT, SERVER, SpanData, SpanMaker
from gateway.telemetry.traces import readable, resource_of, scope_of
from tests.fixtures.receipts import MS, OPENED, receipt, receipts

RESOURCE = {
    "service.name": "tidegate",
    "service.version": "1",
    "answer": 42,
    "share": 0.5,
    "yes": True,
    "all": ("a", "b"),
}


def maker(**types: str) -> SpanMaker:
    return SpanMaker(Pseudonyms(b"k" * 32), types, new_span_id)


def spans_of(given: Receipt, **types: str) -> list[SpanData]:
    return maker(**types).spans(given)


def attempt_of(**changes: Any) -> SpanData:
    """The span of the one attempt of a receipt; changes are of the attempt."""
    made = receipt()
    return spans_of(receipt(attempts=(msgspec.structs.replace(made.attempts[-1], **changes),)), up="vllm")[-1]


# --- the bytes


@given(receipts())
@example(receipt())
def test_our_bytes_say_what_the_sdks_encoder_says(given: Receipt) -> None:
    """Decoded by the official classes, every field of every span, the scope and the resource equal the SDK's own."""
    spans = spans_of(given, up="vllm")
    ours = ExportTraceServiceRequest.FromString(encode_request([encode_spans(spans)], RESOURCE, ("tidegate", "1")))
    resource, scope = Resource(RESOURCE), scope_of("1")
    theirs = sdk_encode([readable(span, resource, scope) for span in spans])
    assert len(ours.resource_spans) == len(theirs.resource_spans) == 1
    assert len(ours.resource_spans[0].scope_spans[0].spans) == len(spans)
    assert ours == theirs


def test_receipts_encoded_apart_are_joined_to_one_request() -> None:
    """What is encoded per receipt and joined later is the same request as if all spans were encoded at once."""
    made = [spans_of(receipt()) for _ in range(3)]
    apart = encode_request([encode_spans(spans) for spans in made], RESOURCE, ("tidegate", "1"))
    assert apart == encode_request([encode_spans(chain.from_iterable(made))], RESOURCE, ("tidegate", "1"))
    assert len(ExportTraceServiceRequest.FromString(apart).resource_spans[0].scope_spans[0].spans) == 33


def test_remembered_shapes_give_the_same_bytes() -> None:
    """The second encoding of a kind of receipt, from what was remembered, equals the first."""
    remembering, given = maker(), receipt(timeline=(), attempts=())
    first, second = (encode_spans(remembering.spans(given)) for _ in range(2))
    assert first == second == encode_spans(maker().spans(given))


@pytest.mark.parametrize(
    ("number", "wire"), [(0, "00"), (127, "7f"), (128, "8001"), (300, "ac02"), (-1, "ff" * 9 + "01")]
)
def test_varints(number: int, wire: str) -> None:
    """Seven bits a byte, least significant first; negative numbers take ten bytes."""
    assert varint(number).hex() == wire


# --- the tree


def test_one_tree_a_receipt() -> None:
    """One server span under the caller's, a child for each stage, a client span for each attempt."""
    made = receipt()
    server, *rest = spans_of(made)
    stages, attempts = rest[:8], rest[8:]
    assert (server.shape.kind, server.shape.name) == (SERVER, "POST /v1/chat/completions")
    assert server.parent_id.hex() == made.parent_span_id
    assert [span.shape.name for span in stages] == [stage.name for stage in made.timeline]
    assert {span.shape.kind for span in stages} == {INTERNAL}
    assert [(span.shape.kind, span.shape.name) for span in attempts] == [(CLIENT, "chat qwen3-8b")] * 2
    assert {span.parent_id for span in rest} == {server.span_id}
    assert {span.trace_id.hex() for span in [server, *rest]} == {made.trace_id}
    assert [span.span_id.hex() for span in attempts] == [attempt.span_id for attempt in made.attempts]
    assert len({span.span_id for span in [server, *rest]}) == 11


def test_times_are_the_receipts() -> None:
    """Unix nanoseconds: when it opened plus what the monotonic clock said."""
    server, first, *_ = spans = spans_of(receipt())
    assert (server.start, server.end) == (OPENED, OPENED + 120 * MS)
    assert (first.start, first.end) == (OPENED, OPENED + MS // 2)
    assert (spans[-1].start, spans[-1].end) == (OPENED + 21 * MS, OPENED + 118 * MS)


# --- names


OFFICIAL = {
    value
    for module in (gen_ai_attributes, server_attributes, error_attributes, http_attributes)
    for value in vars(module).values()
    if isinstance(value, str)
}


def test_names_are_the_conventions_or_ours() -> None:
    """Every attribute is one of OpenTelemetry's, spelt as the official package spells it, or begins with `tidegate.`."""
    for span in spans_of(receipt(degraded=("limits",), held_chars=9, cache_similarity=0.9), up="vllm"):
        foreign = {name for name in span.attributes if not name.startswith("tidegate.")}
        assert foreign <= OFFICIAL


def test_an_attempt_is_told_in_genai_names() -> None:
    """Operation, provider, models, id, finish reasons, usage, and the real backend's address, as v1.41 names them."""
    assert attempt_of().attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "vllm",
        "gen_ai.request.model": "qwen3-8b",
        "gen_ai.request.stream": True,
        "gen_ai.response.model": "Qwen/Qwen3-8B",
        "gen_ai.response.id": "chatcmpl-1",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.response.time_to_first_chunk": 0.03,
        "gen_ai.usage.input_tokens": 1200,
        "gen_ai.usage.output_tokens": 80,
        "gen_ai.usage.cache_read.input_tokens": 1000,
        "gen_ai.usage.reasoning.output_tokens": 30,
        "gen_ai.conversation.id": Pseudonyms(b"k" * 32).of("conversation-1"),
        "server.address": "10.0.0.2",
        "server.port": 8000,
        "http.response.status_code": 200,
        "tidegate.attempt.provider": "up",
        "tidegate.attempt.why": "retry",
        "tidegate.attempt.cost_usd": 0.000153,
        "tidegate.outcome": "ok",
        "tidegate.upstream.request_id": "req-7",
    }


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("azure", "azure.ai.openai"),
        ("gemini", "gcp.gemini"),
        ("mistral", "mistral_ai"),
        ("xai", "x_ai"),
        ("openai", "openai"),
        ("vllm", "vllm"),
    ],
)
def test_providers_have_their_well_known_names(kind: str, told: str) -> None:
    """The type of the provider, under its name in the conventions where that is another; the operator's word beside it."""
    span = spans_of(receipt(), up=kind)[-1]
    assert (span.attributes[names.PROVIDER], span.attributes[names.ATTEMPT_PROVIDER]) == (told, "up")
    well_known = {value.value for value in gen_ai_attributes.GenAiProviderNameValues}
    assert told in well_known or told == kind


@pytest.mark.parametrize(
    ("endpoint", "address", "port"),
    [
        ("10.0.0.1:8000", "10.0.0.1", 8000),
        ("api.example.com", "api.example.com", None),
        ("[::1]:443", "::1", 443),
        ("[::1]", "::1", None),
        ("", None, None),
    ],
)
def test_a_backends_address_is_told_apart(endpoint: str, address: str | None, port: int | None) -> None:
    """Host and port are two attributes; what is not known is not said."""
    attributes = attempt_of(endpoint=endpoint).attributes
    assert (attributes.get("server.address"), attributes.get("server.port")) == (address, port)


def test_tokens_are_counted_once_in_the_tree() -> None:
    """Back ends add up the tree, so usage, and with it every gen_ai attribute, is on attempts only."""
    for span in spans_of(receipt()):
        told = [name for name in span.attributes if name.startswith("gen_ai.")]
        assert bool(told) == (span.shape.kind == CLIENT)


# --- errors


@pytest.mark.parametrize(
    ("outcome", "status", "error"),
    [("ok", 200, False), ("refused", 400, False), ("client_error", 401, False), ("client_gone", 200, False),
     ("gateway_error", 500, True), ("upstream_error", 502, True), ("cut", 200, True), ("gateway_error", 504, True)],
)  # fmt: skip
def test_only_our_own_failures_are_errors(outcome: str, status: int, error: bool) -> None:
    """A refusal, a client's mistake and a client that left are no errors of a server, nor of the stage that found it."""
    fault = "" if outcome in ("ok", "refused", "client_gone") else "some_fault"
    made = receipt(
        outcome=outcome, status=status, error=fault, timeline=(Stage("admit", 0, 1, fault or "ok"),), attempts=()
    )
    server, stage = spans_of(made)
    assert (server.shape.error, stage.shape.error) == (error, error)
    assert server.attributes.get("error.type") == (fault or None)


def test_a_failed_attempt_is_an_error_though_the_exchange_went_well() -> None:
    """A retry hides a failure from the client, not from the trace."""
    failed, good = spans_of(receipt())[-2:]
    assert (failed.shape.error, failed.attributes["error.type"]) == (True, "upstream_failed")
    assert (failed.attributes["server.address"], failed.attributes["http.response.status_code"]) == ("10.0.0.1", 503)
    assert not good.shape.error
    assert "error.type" not in good.attributes


@pytest.mark.parametrize(("outcome", "error"), [("client_gone", False), ("ok", False), ("gateway_error", True)])
def test_a_cancelled_attempt_is_an_error_only_if_the_exchange_failed(outcome: str, error: bool) -> None:
    """The deadline that cut it is our failure; a client that hung up and a hedge that lost its race are not."""
    cut = msgspec.structs.replace(receipt().attempts[-1], outcome="cancelled")
    assert spans_of(receipt(outcome=outcome, attempts=(cut,)))[-1].shape.error is error


# --- bounds and privacy


def test_a_judges_question_is_no_request_of_a_client() -> None:
    """It is an inner span below the request it is about, and its calls are told like all others."""
    first, *rest = spans_of(receipt(route=JUDGE))
    assert (first.shape.name, first.shape.kind) == ("judge", INTERNAL)
    assert not first.attributes.keys() & {names.HTTP_METHOD, names.HTTP_ROUTE, names.HTTP_STATUS}
    assert first.attributes[names.ROUTE] == "judge"
    assert [span.shape.kind for span in rest if span.shape.kind == CLIENT]


def test_what_an_upstream_says_of_itself_is_bounded() -> None:
    """Model, ids and finish reasons come from outside: none is longer than the bound."""
    span = attempt_of(
        response_model="m" * 9999, response_id="i" * 9999, upstream_id="u" * 9999, finish_reasons=("f" * 9999,)
    )
    for value in span.attributes.values():
        texts = value if isinstance(value, tuple) else [value]
        assert all(len(text) <= LONGEST_TEXT for text in texts if isinstance(text, str))


def test_people_are_keyed_hashes() -> None:
    """User and conversation are pseudonyms that another secret does not give; tags are not told at all."""
    made = receipt(tags=("tag-text",))
    said = repr([span.attributes for span in spans_of(made)])
    assert not [word for word in ("alice", "conversation-1", "tag-text") if word in said]
    other = SpanMaker(Pseudonyms(b"other" * 8), {}, new_span_id).spans(made)[0]
    assert other.attributes["tidegate.user"] != spans_of(made)[0].attributes["tidegate.user"]


def test_shapes_are_remembered_within_bounds() -> None:
    """However many kinds of spans there are, so many are remembered and no more."""
    remembering = maker()
    for at in range(3000):
        remembering.spans(receipt(status=at, timeline=(Stage("admit", 0, 1, f"outcome-{at}"),)))
    for cached in (remembering._server_shape, remembering._stage_shape, remembering._attempt_shape):
        assert cached.cache_info().currsize <= 2048


def test_the_process_says_who_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Service, version and instance; OTEL_RESOURCE_ATTRIBUTES adds to them."""
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test, team = a,nonsense")
    told = resource_of("tidegate", "1.2")
    assert (told["service.name"], told["service.version"]) == ("tidegate", "1.2")
    assert told["deployment.environment.name"] == "test"
    assert told["team"] == "a"
    assert "nonsense" not in told
