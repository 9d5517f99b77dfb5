"""The recorder that sends traces: the SDK's OTLP client, around our own encoding and queue.

A receipt's spans are made and encoded in the aftermath, on the event loop, which takes about 35 µs. The sender's thread
is the worse place, because it then holds the interpreter in the middle of somebody's request: with 256 receipts a second,
the slowest of 2,500 short exchanges on a socket took 21 ms beside such a thread and 0.3 ms with the work on the loop.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence

from opentelemetry import trace as api
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace.status import Status, StatusCode

from gateway.core.exchange import new_span_id
from gateway.core.receipt import Receipt
from gateway.telemetry.names import SCHEMA
from gateway.telemetry.otlp import encode_request, encode_spans
from gateway.telemetry.outbox import Outbox, Sent
from gateway.telemetry.redact import Pseudonyms
from gateway.telemetry.spans import SERVER, SpanData, SpanMaker, Value

CALL_SECONDS = 4.0
"""For one call of the collector, retries included."""
CLOSE_SECONDS = 5.0

_SAMPLED = api.TraceFlags(api.TraceFlags.SAMPLED)
_KINDS = {1: api.SpanKind.INTERNAL, 2: api.SpanKind.SERVER, 3: api.SpanKind.CLIENT}
_AGAIN = frozenset({429, 502, 503, 504})
"""Statuses by which a collector says that it may take the same spans later; the only ones, by the OTLP specification."""


class BytesExporter(OTLPSpanExporter):
    """The SDK's OTLP/HTTP exporter (its certificates, headers, compression, retries), fed with encoded requests.

    The SDK has no public way to send bytes; `tests/integration/test_otlp.py` shows when this private one changes.
    """

    def send(self, data: bytes) -> Sent:
        result = self._client.export(data)
        if result.success:
            return "ok"
        return "later" if result.status_code is None or result.status_code in _AGAIN else "never"


class Traces:
    """Recorder `traces`."""

    name = "traces"
    essential = False

    def __init__(
        self,
        exporter: BytesExporter,
        maker: SpanMaker,
        resource: Mapping[str, Value],
        version: str,
        state: Callable[[bool], None] | None = None,
    ) -> None:
        self._exporter = exporter
        self._maker = maker
        self._resource = dict(resource)
        self._scope = ("tidegate", version)
        self.outbox = Outbox(self._send, state=state)

    async def record(self, receipt: Receipt) -> None:
        if receipt.sampled:
            self.outbox.put(encode_spans(self._maker.spans(receipt)))

    def close(self, limit: float = CLOSE_SECONDS) -> None:
        """Sends what is queued, for at most `limit` seconds. Blocks: call it off the loop."""
        self.outbox.close(limit)
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def _send(self, batch: Sequence[bytes]) -> Sent:
        return self._exporter.send(encode_request(batch, self._resource, self._scope))


def readable(span: SpanData, resource: Resource, scope: InstrumentationScope) -> ReadableSpan:
    """The span as the SDK's own object, for its other exporters."""

    def context(span_id: bytes, *, remote: bool = False) -> api.SpanContext:
        trace_id = int.from_bytes(span.trace_id, "big")
        return api.SpanContext(trace_id, int.from_bytes(span_id, "big"), is_remote=remote, trace_flags=_SAMPLED)

    shape = span.shape
    return ReadableSpan(
        name=shape.name,
        context=context(span.span_id),
        parent=context(span.parent_id, remote=shape.kind == SERVER) if span.parent_id else None,
        resource=resource,
        attributes=span.attributes,
        kind=_KINDS[shape.kind],
        status=Status(StatusCode.ERROR) if shape.error else Status(StatusCode.UNSET),
        start_time=span.start,
        end_time=span.end,
        instrumentation_scope=scope,
    )


def scope_of(version: str) -> InstrumentationScope:
    return InstrumentationScope("tidegate", version, SCHEMA)


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


def to_otlp(
    base: str,
    service: str,
    version: str,
    pseudonyms: Pseudonyms,
    types: Mapping[str, str] | None = None,
    state: Callable[[bool], None] | None = None,
) -> Traces:
    """The recorder for a collector at `base`. `types`: the type of each provider, by name. `state` is told, from another
    thread, when the collector stops answering (False) and when it answers again (True)."""
    # The SDK's client says each failed try; we say when the collector goes and when it comes back.
    logging.getLogger(OTLPSpanExporter.__module__).setLevel(logging.CRITICAL)
    exporter = BytesExporter(endpoint=base.rstrip("/") + "/v1/traces", timeout=CALL_SECONDS)
    maker = SpanMaker(pseudonyms, types or {}, new_span_id)
    return Traces(exporter, maker, resource_of(service, version), version, state)
