"""Stage times are read from exported traces."""

from __future__ import annotations

import gzip

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from bench.stages import collect, render

START = 1_700_000_000_000_000_000


def _export(*spans: tuple[bytes, str, int, int, int]) -> bytes:
    made = [
        Span(trace_id=t, name=n, kind=k, start_time_unix_nano=START + a, end_time_unix_nano=START + b)
        for t, n, k, a, b in spans
    ]
    scope = ResourceSpans(scope_spans=[ScopeSpans(spans=made)])
    return ExportTraceServiceRequest(resource_spans=[scope]).SerializeToString()


def test_stages_come_in_the_order_they_start_with_their_own_times() -> None:
    """Each span name is one row, placed by when it starts within its trace, across exports and compression."""
    one = _export((b"a" * 16, "dispatch", 1, 50_000, 90_000), (b"a" * 16, "POST", 2, 0, 100_000))
    two = gzip.compress(_export((b"a" * 16, "admit", 1, 10_000, 12_000), (b"b" * 16, "orphan", 1, 0, 5)))
    stages = collect([one, two])
    assert list(stages) == ["POST", "admit", "dispatch"]
    assert stages["dispatch"].durations == [40.0]
    assert stages["admit"].offsets == [10.0]
    assert "| admit | 1 | 10 | 2 | 2 | 2 |" in render(stages)
