"""The load generator and the mock upstream: they must agree on whole answers and tell every other kind apart."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span
from opentelemetry.trace import SpanKind

from bench.client import Reply, ReplyParser
from bench.load import Load, Target, closed_loop, open_loop, verdict
from bench.script import MARKER, Prompts, answer_text, contents
from bench.upstream import Seen, Upstream

Factory = Callable[[], asyncio.BaseProtocol]


@asynccontextmanager
async def listening(factory: Factory) -> AsyncIterator[int]:
    server = await asyncio.get_running_loop().create_server(factory, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


class Says(asyncio.Protocol):
    """Answers every request with the same bytes, then closes if told so."""

    def __init__(self, reply: bytes, close: bool = False) -> None:
        self.reply, self.close = reply, close

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        assert isinstance(self.transport, asyncio.Transport)
        self.transport.write(self.reply)
        if self.close:
            self.transport.close()


async def ask(port: int, prompts: Prompts, requests: int = 5) -> Load:
    return await closed_loop(Target(port=port), prompts, concurrency=2, requests=requests, seconds=10)


def test_prompts_are_unique_and_about_one_kilobyte() -> None:
    """No two prompts of a run are the same, and each is near the size the figures are stated for."""
    prompts = Prompts()
    bodies = [prompts.next()[0] for _ in range(200)]
    assert len(set(bodies)) == 200
    assert all(900 <= len(body) <= 1300 for body in bodies)
    assert all(MARKER.search(body) for body in bodies)


def test_one_prompt_in_eight_holds_private_data() -> None:
    """Masking is given real work, in the share the README states."""
    prompts = Prompts()
    bodies = [prompts.next()[0] for _ in range(64)]
    assert sum(b"@example.com" in body for body in bodies) == 8


@pytest.mark.parametrize(("stream", "gap"), [(False, 0), (True, 0), (True, 1)])
async def test_every_answer_of_the_upstream_is_complete(stream: bool, gap: int) -> None:
    """The upstream's replies and streams, paced or not, read as whole answers, and each is counted once."""
    seen = Seen()
    async with listening(lambda: Upstream(seen)) as port:
        load = await ask(port, Prompts(stream=stream, chunks=20, gap_ms=gap), requests=12)
    assert load.answered == 12
    assert load.failed == 0
    assert seen.counts["streams" if stream else "requests"] == 12


async def test_open_loop_keeps_its_rate_and_answers() -> None:
    """A steady rate sends just rate x seconds requests, whatever the answers do."""
    seen = Seen()
    async with listening(lambda: Upstream(seen)) as port:
        load = await open_loop(Target(port=port), Prompts(chunks=20), rate=200, seconds=0.25)
    assert load.answered == 50
    assert len(load.lag) == 50
    assert load.wall >= 0.24


@pytest.mark.parametrize(
    ("reply", "close", "reason"),
    [
        (b"HTTP/1.1 500 Oops\r\ncontent-length: 2\r\n\r\n{}", False, "status 500"),
        (b'HTTP/1.1 200 OK\r\ncontent-length: 16\r\n\r\n{"content":"no"}', False, "wrong answer"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", False, "cut answer"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 200\r\n\r\n{", True, "connection lost"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n", True, "connection lost"),
        (b"HTTP/1.1 200 OK\r\n\r\n{}", True, "bad reply: reply without length"),
        (b"SSH-2.0-nothing\r\n\r\n", True, "bad reply: not an HTTP/1 reply"),
    ],
)
async def test_no_broken_answer_counts_as_answered(reply: bytes, close: bool, reason: str) -> None:
    """Errors, swapped, cut and malformed replies each get a reason and never a latency."""
    async with listening(lambda: Says(reply, close)) as port:
        load = await ask(port, Prompts(), requests=3)
    assert load.answered == 0
    assert load.errors == {reason: 3}
    assert load.latencies == []


async def test_a_dead_subject_ends_the_run() -> None:
    """With nothing listening the closed loop reports refused connections and stops at its time."""
    async with listening(lambda: Says(b"")) as port:
        pass
    load = await closed_loop(Target(port=port), Prompts(), concurrency=2, seconds=0.2)
    assert load.answered == 0
    assert load.errors["connect: ConnectionRefusedError"] >= 2


async def test_upstream_refuses_a_prompt_without_marker_and_an_unknown_path() -> None:
    """A gateway that mangles the prompt shows as errors, not as answers."""
    seen = Seen()
    async with listening(lambda: Upstream(seen)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 400")
        await reader.readuntil(b"}}")
        writer.write(b"GET /elsewhere HTTP/1.1\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 404")
        writer.close()
    assert seen.counts["bad"] == 1


async def test_upstream_is_an_otlp_sink() -> None:
    """Exported traces are counted, by sender and compressed or not, so the bench can prove that tracing was on."""
    seen = Seen()
    kinds = (SpanKind.SERVER, SpanKind.INTERNAL, SpanKind.CLIENT, SpanKind.SERVER)
    spans = [Span(name="x", kind=int(kind.value) + 1, start_time_unix_nano=10**18) for kind in kinds]
    scope = ScopeSpans(spans=spans)
    export = ExportTraceServiceRequest(resource_spans=[ResourceSpans(scope_spans=[scope])]).SerializeToString()
    async with listening(lambda: Upstream(seen)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for body in (export, gzip.compress(export)):
            head = b"POST /some-subject/v1/traces HTTP/1.1\r\nContent-Length: %d\r\n\r\n"
            writer.write(head % len(body) + body)
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            await reader.readuntil(b"\r\n\r\n")
        writer.close()
    assert seen.totals()["traces some-subject"] == 4


@given(
    body=st.lists(st.binary(min_size=1, max_size=40), max_size=8),
    cuts=st.lists(st.integers(min_value=1, max_value=30), max_size=60),
    chunked=st.booleans(),
)
def test_parser_gives_the_same_reply_for_every_chunking(body: list[bytes], cuts: list[int], chunked: bool) -> None:
    """However the network cuts a reply, its body and its end are the same, and not one byte early."""
    if chunked:
        parts = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in body) + b"0\r\n\r\n"
        wire = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + parts
    else:
        whole = b"".join(body)
        wire = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(whole) + whole
    parser, at, done = ReplyParser(), 0, False
    for size in [*cuts, len(wire)]:
        piece = wire[at : at + size]
        at += len(piece)
        done = bool(piece) and parser.feed(piece)
        assert done == (at == len(wire)) or not piece
        if at == len(wire):
            break
    assert done
    assert bytes(parser.body) == b"".join(body)


@given(cut=st.integers(min_value=0, max_value=60))
def test_verdict_accepts_only_the_whole_text(cut: int) -> None:
    """An answer is right when all of it is there: every shorter one is called cut."""
    text = answer_text("abcdefgh", 12)
    body = bytearray(b'{"content": "%s"}' % text[:cut].encode())
    got = verdict(Reply(status=200, body=body), text.encode())
    assert (got == "") == (cut >= len(text))


def test_contents_joins_a_streams_deltas() -> None:
    """Deltas of an event stream read as the one text they spell, whatever spacing the gateway's JSON has."""
    assert contents(b'data: {"content":"ab"}\n\ndata: {"content" : " cd"}\n\ndata: [DONE]\n\n') == b"ab cd"
