"""The recorder that sends traces: the SDK's batch processor, queue and OTLP client, around our own encoding.

A whole receipt is queued as one item; its spans are made and encoded in the exporter's thread.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry import trace as api
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace.status import Status, StatusCode

from gateway.core.exchange import new_span_id
from gateway.core.receipt import Receipt
from gateway.telemetry.otlp import encode_request
from gateway.telemetry.redact import Pseudonyms
from gateway.telemetry.spans import SpanData, Value, spans_of

_SAMPLED = api.TraceFlags(api.TraceFlags.SAMPLED)
_KINDS = {1: api.SpanKind.INTERNAL, 2: api.SpanKind.SERVER, 3: api.SpanKind.CLIENT}


class _Item:
    """A receipt in the batch processor's queue. The processor asks only whether it is sampled."""

    __slots__ = ("context", "receipt")

    class _Context:
        trace_flags = _SAMPLED

    def __init__(self, receipt: Receipt) -> None:
        self.context = self._Context
        self.receipt = receipt


class ReceiptExporter(OTLPSpanExporter):
    """The SDK's OTLP/HTTP exporter, fed with receipts."""

    def __init__(self, endpoint: str, resource: Mapping[str, Value], version: str, pseudonyms: Pseudonyms) -> None:
        super().__init__(endpoint=endpoint, timeout=5)
        self._resource = dict(resource)
        self._scope = ("tidegate", version)
        self._pseudonyms = pseudonyms

    def export(self, items: Sequence[Any]) -> SpanExportResult:
        spans = (span for item in items for span in spans_of(item.receipt, self._pseudonyms, new_span_id))
        sent = self._client.export(encode_request(spans, self._resource, self._scope))
        return SpanExportResult.SUCCESS if sent.success else SpanExportResult.FAILURE


class Traces:
    """Recorder `traces`."""

    name = "traces"
    essential = False

    def __init__(self, processor: BatchSpanProcessor) -> None:
        self._processor = processor

    async def record(self, receipt: Receipt) -> None:
        if receipt.sampled:
            self._processor.on_end(_Item(receipt))  # type: ignore[arg-type]

    def close(self) -> None:
        """Sends what is queued, within the processor's own time limit. Blocks: call it off the loop."""
        self._processor.shutdown()  # type: ignore[no-untyped-call]


class SdkTraces:
    """Recorder `traces` for any other SDK exporter: the same spans, as the SDK's own objects."""

    name = "traces"
    essential = False

    def __init__(
        self, exporter: SpanExporter, resource: Mapping[str, Value], version: str, pseudonyms: Pseudonyms
    ) -> None:
        self._exporter = exporter
        self._resource = Resource(dict(resource))
        self._scope = InstrumentationScope("tidegate", version)
        self._pseudonyms = pseudonyms

    async def record(self, receipt: Receipt) -> None:
        if receipt.sampled:
            spans = spans_of(receipt, self._pseudonyms, new_span_id)
            self._exporter.export([readable(span, self._resource, self._scope) for span in spans])

    def close(self) -> None:
        self._exporter.shutdown()


def readable(span: SpanData, resource: Resource, scope: InstrumentationScope) -> ReadableSpan:
    def context(span_id: str) -> api.SpanContext:
        return api.SpanContext(int(span.trace_id, 16), int(span_id, 16), is_remote=False, trace_flags=_SAMPLED)

    return ReadableSpan(
        name=span.name,
        context=context(span.span_id),
        parent=context(span.parent_id) if span.parent_id else None,
        resource=resource,
        attributes=span.attributes,
        kind=_KINDS[span.kind],
        status=Status(StatusCode.ERROR) if span.error else Status(StatusCode.UNSET),
        start_time=span.start,
        end_time=span.end,
        instrumentation_scope=scope,
    )


def resource_of(service: str, version: str) -> dict[str, Value]:
    """What is said of this process. OTEL_RESOURCE_ATTRIBUTES adds to it, as everywhere."""
    out: dict[str, Value] = {
        "service.name": service,
        "service.version": version,
        "service.instance.id": f"{os.uname().nodename}-{os.getpid()}",
    }
    for pair in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","):
        name, sep, value = pair.partition("=")
        if sep:
            out[name.strip()] = value.strip()
    return out


def to_otlp(base: str, service: str, version: str, pseudonyms: Pseudonyms) -> Traces:
    """The recorder for a collector at `base`."""
    exporter = ReceiptExporter(base.rstrip("/") + "/v1/traces", resource_of(service, version), version, pseudonyms)
    return Traces(
        BatchSpanProcessor(exporter, max_queue_size=8192, schedule_delay_millis=1000, max_export_batch_size=256)
    )
