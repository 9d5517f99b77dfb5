"""Reading exported traces: OTLP export requests as plain tuples."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from typing import NamedTuple

SERVER = 2
"""The span kind of a request that was served: one for each trace of a gateway."""


class Span(NamedTuple):
    """One span; times in Unix nanoseconds."""

    trace: bytes
    name: str
    kind: int
    start: int
    end: int


def spans(export: bytes) -> Iterator[Span]:
    """Every span in an OTLP export request, compressed with gzip or not."""
    # Imported here: only who reads traces needs the protobuf classes, and they take a while to load.
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    body = gzip.decompress(export) if export.startswith(b"\x1f\x8b") else export
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield Span(span.trace_id, span.name, span.kind, span.start_time_unix_nano, span.end_time_unix_nano)
