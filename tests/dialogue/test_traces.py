"""One trace a request, whatever becomes of it: the client's trace is joined, and the upstream sees our attempt."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.core.receipt import Receipt
from gateway.faults.play import Play
from gateway.faults.steps import CLOSE
from tests.fixtures.collector import Collector, Told, collector
from tests.fixtures.gateway import Converse, Talk
from tests.fixtures.raw_client import RawClient, asking, post

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"
SAMPLED = {"traceparent": f"00-{TRACE}-{CALLER}-01"}
TWO = {"m": {"targets": [{"provider": "up", "model": "m"}], "on_failure": ["spare"], "retry": {"attempts": 1}}}
PHRASES = {
    "phrases": {"use": "phrases", "deny": ["bluebird"], "action": "block", "on_error": "closed", "deadline": "1s"}
}


@asynccontextmanager
async def traced(talk: Converse, **sections: Any) -> AsyncIterator[tuple[Talk, Collector]]:
    """A gateway that sends its traces to a collector."""
    with collector() as kept:
        told = {"log": "off", "otlp": kept.url, **sections.pop("telemetry", {})}
        async with talk(telemetry=told, **sections) as t:
            assert t.gateway.traces is not None
            t.gateway.traces.outbox.every = 0.02
            yield t, kept


async def trace_of(t: Talk, kept: Collector) -> tuple[Receipt, Told, list[Told], list[Told]]:
    """The next receipt, and its trace: server span, stages, attempts. Checks what holds for every trace."""
    receipt = await t.receipt()
    await asyncio.to_thread(kept.wait, lambda c: bool(c.trace(receipt.trace_id)))
    server, *rest = kept.trace(receipt.trace_id)
    stages = [span for span in rest if span.kind == "INTERNAL"]
    attempts = [span for span in rest if span.kind == "CLIENT"]
    check_tree(receipt, server, stages, attempts)
    assert len(rest) == len(stages) + len(attempts)
    return receipt, server, stages, attempts


def check_tree(receipt: Receipt, server: Told, stages: list[Told], attempts: list[Told]) -> None:
    """One server span; all others are its children, inside its time, and are what the receipt says."""
    assert (server.kind, server.id, server.parent) == ("SERVER", receipt.span_id, receipt.parent_span_id)
    assert [stage.name for stage in stages] == [stage.name for stage in receipt.timeline]
    assert [span.id for span in attempts] == [attempt.span_id for attempt in receipt.attempts]
    for span in (*stages, *attempts):
        assert span.parent == server.id
        assert server.start <= span.start <= span.end <= server.end
    assert server.attributes["tidegate.exchange.id"] == receipt.id
    assert server.resource["service.name"] == "tidegate"
    assert server.schema == "https://opentelemetry.io/schemas/1.41.0"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_is_one_trace(talk: Converse, stream: bool) -> None:
    """Under the client's own span: a child for each stage, and the attempt with the real backend, models and usage."""
    async with traced(talk, models={"m": {"targets": [{"provider": "up", "model": "true-name"}]}}) as (t, kept):
        t.upstream.script("true-name", ["Hel", "lo"])
        reply = await t.ask("hi", stream=stream, headers=SAMPLED)
        assert reply.text == "Hello"
        receipt, server, stages, attempts = await trace_of(t, kept)
    assert (server.trace, server.parent, server.name) == (TRACE, CALLER, "POST /v1/chat/completions")
    assert (server.flags & 0x300, server.error) == (0x300, False)
    assert [stage.name for stage in stages][:4] == ["admit", "receive", "select", "permit"]
    (attempt,) = attempts
    assert attempt.name == "chat true-name"
    told = attempt.attributes
    assert told["gen_ai.operation.name"] == "chat"
    assert told["gen_ai.provider.name"] == "openai-compatible"
    assert told["gen_ai.request.model"] == told["gen_ai.response.model"] == "true-name"
    assert told["gen_ai.request.stream"] is stream
    assert told["gen_ai.response.id"]
    assert told["gen_ai.response.finish_reasons"] == ["stop"]
    assert receipt.usage is not None
    assert told["gen_ai.usage.input_tokens"] == receipt.usage.input_tokens
    assert told["gen_ai.usage.output_tokens"] == receipt.usage.output_tokens
    assert f"{told['server.address']}:{told['server.port']}" == t.upstream.url.removeprefix("http://")
    assert told["http.response.status_code"] == 200


async def test_the_upstream_is_told_of_our_attempt(talk: Converse) -> None:
    """`traceparent` upstream names the attempt's own span, so that the upstream's spans hang under it."""
    async with traced(talk) as (t, kept):
        t.upstream.script("m", ["ok"])
        await t.ask("hi", headers=SAMPLED)
        _, _, _, (attempt,) = await trace_of(t, kept)
        assert t.upstream.requests[-1].header("traceparent") == f"00-{TRACE}-{attempt.id}-01"


async def test_a_request_without_a_trace_starts_one(talk: Converse) -> None:
    """Fresh ids, no parent, and no claim of a remote one."""
    async with traced(talk) as (t, kept):
        t.upstream.script("m", ["ok"])
        await t.ask("hi")
        receipt, server, _, _ = await trace_of(t, kept)
    assert (receipt.parent_span_id, server.parent, server.flags & 0x300) == ("", "", 0x100)
    assert server.trace not in ("0" * 32, TRACE)


async def test_every_try_is_a_span(talk: Converse) -> None:
    """A failure that a fallback hid is in the trace: where it was, what it answered, and why the next was asked."""
    async with traced(talk, models=TWO) as (t, kept):
        t.upstream.reply("m", 503, {"error": {"message": "no"}})
        t.spare.script("m", ["from spare"])
        reply = await t.ask("hi", headers=SAMPLED)
        assert reply.text == "from spare"
        _, server, _, (failed, good) = await trace_of(t, kept)
        sent = [server.requests[-1].header("traceparent") for server in (t.upstream, t.spare)]
    assert sent == [f"00-{TRACE}-{span.id}-01" for span in (failed, good)]
    assert (failed.error, good.error, server.error) == (True, False, False)
    assert failed.attributes["error.type"] == "upstream_failed"
    assert failed.attributes["http.response.status_code"] == 503
    assert f"{failed.attributes['server.address']}:{failed.attributes['server.port']}" == t.upstream.url[7:]
    assert [span.attributes["tidegate.attempt.why"] for span in (failed, good)] == ["first", "fallback"]
    assert [span.attributes["tidegate.attempt.provider"] for span in (failed, good)] == ["up", "two"]
    assert server.attributes["tidegate.attempts"] == 2


async def test_an_upstream_that_is_not_there_is_named(talk: Converse) -> None:
    """A refused connection has no status, but an address and an error."""
    async with traced(
        talk, models={"m": {"targets": [{"provider": "up", "model": "m"}], "retry": {"attempts": 1}}}
    ) as (t, kept):
        address = t.upstream.url.removeprefix("http://")
        await t.upstream.stop()
        reply = await t.ask("hi")
        assert reply.status == 502
        _, server, _, (attempt,) = await trace_of(t, kept)
    assert f"{attempt.attributes['server.address']}:{attempt.attributes['server.port']}" == address
    assert "http.response.status_code" not in attempt.attributes
    assert attempt.error
    assert (server.error, server.attributes["error.type"]) == (True, "upstream_failed")
    assert server.attributes["http.response.status_code"] == 502


async def test_a_cut_stream_is_an_error_under_a_status_of_200(talk: Converse) -> None:
    """Its headers were out, so the status says nothing; the spans do."""
    async with traced(talk) as (t, kept):
        t.upstream.script("m", ["Hel", CLOSE])
        await t.ask("hi", stream=True)
        _, server, _, (attempt,) = await trace_of(t, kept)
    assert (server.attributes["http.response.status_code"], server.error) == (200, True)
    assert server.attributes["error.type"] == attempt.attributes["error.type"] == "stream_cut"


async def test_a_blocked_request_has_no_attempt(talk: Converse) -> None:
    """The trace ends in the stage that refused; a refusal is an answer and no error."""
    async with traced(talk, guardrails=PHRASES, routes={"default": {"guardrails": ["phrases"]}}) as (t, kept):
        reply = await t.ask("tell me of project bluebird", headers=SAMPLED)
        assert (reply.status, reply.error["code"]) == (400, "content_filter")
        _, server, stages, attempts = await trace_of(t, kept)
    assert attempts == []
    assert (stages[-1].name, stages[-1].attributes["tidegate.outcome"]) == ("inspect", "refused")
    assert not any(span.error for span in (server, *stages))
    assert server.attributes["tidegate.guardrails"] == ["phrases=block:1"]
    assert "error.type" not in server.attributes


@pytest.mark.parametrize(("body", "error"), [(b"{", "bad_request"), (asking(model="nope"), "unknown_model")])
async def test_a_clients_mistake_is_no_error_of_ours(talk: Converse, body: bytes, error: str) -> None:
    """It is traced with its kind, and no span is marked as failed: tail samplers keep what is."""
    async with traced(talk) as (t, kept):
        await t.send(body, **SAMPLED)
        receipt, server, stages, _ = await trace_of(t, kept)
    assert (receipt.outcome, server.attributes["error.type"]) == ("client_error", error)
    assert not any(span.error for span in (server, *stages))
    assert stages[-1].attributes["tidegate.outcome"] == error
    assert "tidegate.model" not in server.attributes


@pytest.mark.parametrize("before_content", [True, False])
async def test_a_client_that_left_is_traced(talk: Converse, before_content: bool) -> None:
    """Its attempt was cancelled, which is an outcome and no error."""
    async with traced(talk) as (t, kept):
        gate = asyncio.Event()
        t.upstream.script("m", [gate, "never"] if before_content else ["Hel", gate, "lo"])
        async with RawClient(t.url) as client:
            await client.send(post(asking(stream=True), traceparent=SAMPLED["traceparent"]))
            await t.upstream.received(1)
            if not before_content:
                await client.until(b"Hel")
            client.leave()
        receipt, server, _, (attempt,) = await trace_of(t, kept)
    assert receipt.outcome == server.attributes["tidegate.outcome"] == "client_gone"
    assert attempt.attributes["tidegate.outcome"] == "cancelled"
    assert not any(span.error for span in (server, attempt))
    assert ("http.response.status_code" in server.attributes) is not before_content


async def test_an_exchange_that_ran_out_of_time_is_an_error(talk: Converse) -> None:
    """The attempt that the deadline cancelled is marked, unlike one whose client left."""
    async with traced(talk) as (t, kept):
        t.upstream.script("m", [asyncio.Event(), "never"])
        reply = await t.ask("hi", headers={"x-tidegate-timeout-ms": "150"})
        assert reply.status == 504
        _, server, _, (attempt,) = await trace_of(t, kept)
    assert (server.error, server.attributes["error.type"]) == (True, "deadline_exceeded")
    assert (attempt.error, attempt.attributes["error.type"]) == (True, "cancelled")


async def test_a_cached_answer_has_no_attempt(talk: Converse) -> None:
    """The second asking is answered by a stage; the trace says which and that nothing was used."""
    routes = {"default": {"cache": {"exact": {"ttl": "1m"}}}}
    async with traced(talk, routes=routes) as (t, kept):
        t.upstream.script("m", ["ok"])
        await t.ask("hi")
        await trace_of(t, kept)
        await asyncio.wait_for(t.gateway.caches.writer.drained(), 5)
        reply = await t.ask("hi")
        assert reply.header("cache") == "hit"
        _, server, stages, attempts = await trace_of(t, kept)
    assert (attempts, server.attributes["tidegate.cache"], server.attributes["tidegate.answer"]) == (
        [],
        "hit",
        "cached",
    )
    assert (stages[-1].name, stages[-1].attributes["tidegate.outcome"]) == ("exact_cache", "cached")
    assert not any(name.startswith("gen_ai.") for span in (server, *stages) for name in span.attributes)


@pytest.mark.parametrize(
    ("dialect", "path", "route"),
    [("anthropic", "/anthropic/v1/messages", "/v1/messages"), ("openai", "/chat/completions", "/v1/chat/completions")],
)
async def test_the_route_is_the_documented_path(talk: Converse, dialect: str, path: str, route: str) -> None:
    """Aliases of a path are one route in the traces."""
    async with traced(talk) as (t, kept):
        t.upstream.script("m", ["ok"])
        await t.send(asking(), path)
        receipt, server, _, _ = await trace_of(t, kept)
    assert (receipt.dialect, server.name, server.attributes["http.route"]) == (dialect, f"POST {route}", route)


async def test_embeddings_are_traced_as_such(talk: Converse) -> None:
    """Their operation has its own name in the conventions."""
    async with traced(talk, models={"e": {"targets": [{"provider": "up", "model": "ok"}]}}) as (t, kept):
        await t.send({"model": "e", "input": "a"}, "/v1/embeddings")
        _, server, _, (attempt,) = await trace_of(t, kept)
    assert (server.name, attempt.name) == ("POST /v1/embeddings", "embeddings ok")
    assert attempt.attributes["gen_ai.operation.name"] == "embeddings"


# --- sampling


@pytest.mark.parametrize("share", [0.0, 1.0])
async def test_a_callers_decision_is_honoured(talk: Converse, share: float) -> None:
    """Whatever our own share is, a sampled caller is traced, one that is not is not, and the upstream is told so."""
    async with traced(talk, telemetry={"sample": share}) as (t, kept):
        t.upstream.script("m", ["ok"])
        other = TRACE[::-1]
        await t.ask("no", headers={"traceparent": f"00-{other}-{CALLER}-00"})
        assert (await t.receipt()).sampled is False
        assert (t.upstream.requests[-1].header("traceparent") or "").endswith("-00")
        await t.ask("yes", headers=SAMPLED)
        await trace_of(t, kept)
    assert {span.trace for span in kept.spans} == {TRACE}


async def test_a_share_of_none_sends_none(talk: Converse) -> None:
    """With `sample: 0` the collector is never called, and the exchange is recorded as ever."""
    async with traced(talk, telemetry={"sample": 0.0}) as (t, kept):
        t.upstream.script("m", ["ok"])
        for _ in range(3):
            assert (await t.ask("hi")).status == 200
            assert (await t.receipt()).outcome == "ok"
    assert kept.calls == 0


async def test_one_trace_is_one_request(talk: Converse) -> None:
    """Twenty requests at once are twenty traces, each whole."""
    async with traced(talk) as (t, kept):
        t.upstream.script("m", ["a", "b"])
        await asyncio.gather(*(t.ask("hi", stream=bool(at % 2)) for at in range(20)))
        receipts = [await t.receipt() for _ in range(20)]
    for receipt in receipts:
        server, *rest = kept.trace(receipt.trace_id)
        check_tree(receipt, server, [s for s in rest if s.kind == "INTERNAL"], [s for s in rest if s.kind == "CLIENT"])
    assert len({span.trace for span in kept.spans}) == 20
    assert len({span.id for span in kept.spans}) == len(kept.spans)


async def test_a_retry_is_a_span_of_its_own(talk: Converse) -> None:
    """The same target asked again: two spans, one after the other."""
    async with traced(talk) as (t, kept):
        t.upstream.sequence("m", "500", Play(["fine"]))
        await t.ask("hi")
        _, _, _, (first, second) = await trace_of(t, kept)
    assert first.end <= second.start
    assert (first.error, second.error) == (True, False)
    assert second.attributes["tidegate.attempt.why"] == "retry"
