"""Between the gateway and what watches it: a collector that fails in every way, and a real scrape of /metrics."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.telemetry.redact import Pseudonyms
from gateway.telemetry.traces import Traces, to_otlp
from tests.fixtures.collector import collector, elapsed
from tests.fixtures.engine_server import EngineServer, NameServer
from tests.fixtures.gateway import Converse, Talk
from tests.fixtures.raw_client import until
from tests.fixtures.receipts import receipt
from tests.integration.test_promtool import asked, expressions, rules


@contextmanager
def nobody() -> Iterator[str]:
    """An address on which nobody listens, for as long as the block lasts."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"


@contextmanager
def traces_to(url: str, **changes: float) -> Iterator[tuple[Traces, list[bool]]]:
    """The recorder alone, made impatient; and what it said of the collector's state."""
    said: list[bool] = []
    traces = to_otlp(url, "tidegate", "1", Pseudonyms(b"k" * 32), {"up": "vllm"}, said.append)
    traces.outbox.every = 0.01
    for name, value in changes.items():
        setattr(traces.outbox, name, value)
    try:
        yield traces, said
    finally:
        traces.close(0)


async def record(traces: Traces, count: int = 1) -> None:
    for _ in range(count):
        await traces.record(receipt())


# --- the recorder and its collector


async def test_receipts_arrive_whole() -> None:
    """A thousand receipts are a thousand traces of eleven spans, in few calls, and closing waits for them."""
    with collector() as kept, traces_to(kept.url) as (traces, said):
        await record(traces, 1000)
        await asyncio.to_thread(traces.close)
        assert (len(kept.spans), traces.outbox.dropped, said) == (11_000, 0, [])
        assert len({span.trace for span in kept.spans}) == 1000
        assert kept.calls < 100


async def test_the_sdks_settings_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Headers and compression come from the environment's OTEL variables, as for every exporter."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-team=a,authorization=Bearer%20token")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    with collector() as kept, traces_to(kept.url + "/") as (traces, _):
        await record(traces)
        await asyncio.to_thread(traces.close)
        assert len(kept.spans) == 11
        assert kept.headers[0]["x-team"] == "a"
        assert kept.headers[0]["authorization"] == "Bearer token"
        assert kept.headers[0]["content-encoding"] == "gzip"


@pytest.mark.parametrize("status", [503, 429, 502, 504])
async def test_a_collector_that_is_busy_loses_nothing(status: int) -> None:
    """What it puts off comes again, until it takes it."""
    with collector() as kept, traces_to(kept.url, _first_rest=0.01) as (traces, _):
        kept.statuses = [status]
        await record(traces, 5)
        await asyncio.to_thread(kept.wait, lambda c: len(c.spans) == 55)
        assert traces.outbox.dropped == 0


@pytest.mark.parametrize("status", [400, 401, 404, 413, 500])
async def test_what_a_collector_refuses_is_dropped(status: int) -> None:
    """A refusal is for good, as OTLP has it: counted, and not in the way of what comes after."""
    with collector() as kept, traces_to(kept.url) as (traces, said):
        kept.statuses = [status]
        await record(traces)
        await asyncio.to_thread(kept.wait, lambda c: c.calls == 1)
        await record(traces)
        await asyncio.to_thread(kept.wait, lambda c: len(c.spans) == 11)
        assert (traces.outbox.dropped, said) == (1, [])


async def test_a_collector_that_comes_back_gets_what_waited() -> None:
    """It was gone, and what happened meanwhile is not lost; both are said once."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    with traces_to(f"http://127.0.0.1:{port}", _first_rest=0.01) as (traces, said):
        traces._exporter._client._timeout = 0.2
        await record(traces, 3)
        await until(lambda: traces.outbox.resting)
        await record(traces, 4)
        with collector(port) as kept:
            await asyncio.to_thread(kept.wait, lambda c: len(c.spans) == 77)
        assert (said, traces.outbox.dropped) == ([False, True], 0)


async def test_memory_is_bounded_while_nobody_listens() -> None:
    """Past its bytes the queue takes nothing more, and counts."""
    with nobody() as url, traces_to(url, _most_bytes=100_000) as (traces, _):
        await record(traces, 1000)
        kept = sum(map(len, traces.outbox._items))
        assert kept <= 100_000
        assert traces.outbox.dropped > 900


async def test_recording_never_waits_for_the_collector() -> None:
    """With a call hanging, a thousand receipts are recorded in less time than one call may take."""
    with collector() as kept:
        kept.hold = threading.Event()
        with traces_to(kept.url) as (traces, _):
            await record(traces)
            await asyncio.to_thread(kept.wait, lambda c: c.calls == 1)
            started = time.monotonic()
            await record(traces, 1000)
            assert time.monotonic() - started < 3


@pytest.mark.parametrize("how", ["hangs", "refuses"])
async def test_closing_is_bounded(how: str) -> None:
    """Whatever the collector does, `close` is back within its limit, here half a second, and a little."""
    with collector() as kept, nobody() as url:
        kept.hold = threading.Event()
        with traces_to(kept.url if how == "hangs" else url) as (traces, _):
            await record(traces, 10)
            took = await asyncio.to_thread(elapsed, lambda: traces.close(0.5))
            assert took < 2
            assert len(traces.outbox) == 0


# --- the gateway and its collector


@asynccontextmanager
async def served(talk: Converse, url: str, **sections: Any) -> AsyncIterator[Talk]:
    async with talk(telemetry={"log": "off", "otlp": url}, **sections) as t:
        t.upstream.script("m", ["ok"])
        yield t


async def test_a_dead_collector_is_not_noticed_by_clients(talk: Converse, tmp_path: Any) -> None:
    """Requests are answered; /readyz and a gauge say it; the shutdown does not wait for it."""
    with nobody() as url:
        async with served(talk, url) as t:
            assert t.gateway.traces is not None
            t.gateway.traces.outbox.every = 0.01
            t.gateway.traces._exporter._client._timeout = 0.2
            for _ in range(5):
                assert (await t.ask("hi")).status == 200
                assert (await t.receipt()).outcome == "ok"
            await until(lambda: t.gateway.traces.outbox.resting)  # type: ignore[union-attr]
            ready = await t.http.get("/readyz")
            assert (ready.status_code, list(ready.json()["degraded"])) == (200, ["traces"])
            assert value(await page(t), "tidegate_breaker_open", dependency="collector") == 1
            stopping = time.monotonic()
        assert time.monotonic() - stopping < 4


async def test_a_hanging_collector_does_not_hold_the_shutdown(talk: Converse) -> None:
    """With a call under way that never ends, the gateway is down within the five seconds that traces get."""
    with collector() as kept:
        kept.hold = threading.Event()
        async with served(talk, kept.url) as t:
            assert t.gateway.traces is not None
            t.gateway.traces.outbox.every = 0.01
            assert (await t.ask("hi")).status == 200
            await asyncio.to_thread(kept.wait, lambda c: c.calls == 1)
            started = time.monotonic()
            assert (await t.ask("hi")).status == 200
            assert time.monotonic() - started < 3
            stopping = time.monotonic()
        assert time.monotonic() - stopping < 8


async def test_the_shutdown_sends_what_is_queued(talk: Converse) -> None:
    """The last requests' traces are not lost: no period has to pass first."""
    with collector() as kept:
        async with served(talk, kept.url) as t:
            assert t.gateway.traces is not None
            t.gateway.traces.outbox.every = 60
            for _ in range(7):
                await t.ask("hi")
            assert kept.calls == 0
        assert len({span.trace for span in kept.spans}) == 7


# --- /metrics against the alerts and the dashboard


async def page(t: Talk) -> str:
    return (await t.http.get("/metrics")).text


def value(text: str, name: str, **labels: str) -> float:
    found = [
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and sample.labels == labels
    ]
    assert len(found) == 1, (name, labels, found)
    return found[0]


def scraped(text: str) -> dict[str, set[str]]:
    """Every metric with at least one sample, with its labels; histograms under their own name, with `le`."""
    out: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name = sample.name.removesuffix("_bucket") if family.type == "histogram" else sample.name
            out.setdefault(name, set()).update(sample.labels)
    return out


RICH: dict[str, Any] = {
    "models": {
        "m": {"targets": [{"provider": "up", "model": "m"}], "price": {"input": 1.0, "output": 2.0}},
        "free": {"targets": [{"provider": "up", "model": "ok"}], "concurrency": 1, "queue": {"max": 9}},
        "cut": {"targets": [{"provider": "up", "model": "fault:close-midway"}], "price": {"input": 1.0, "output": 2.0}},
    },
    "guardrails": {
        "phrases": {"use": "phrases", "deny": ["bluebird"], "action": "block", "on_error": "closed", "deadline": "1s"},
        "attacks": {"use": "injection", "on": ["input"], "on_error": "open", "deadline": "1ms"},
    },
    "routes": {
        "default": {"guardrails": ["phrases", "attacks"], "cache": {"exact": {"ttl": "1m"}, "semantic": {"ttl": "1m"}}},
        "support": {
            "match": {"models": ["support"]},
            "intents": {
                "examples": {
                    "password": ["I forgot my password", "reset my password", "I can't log in"],
                    "billing": ["my bill is wrong", "you charged me twice", "refund this invoice"],
                },
                "then": {"password": {"answer": "Use the link."}},
                "default": "m",
                "budget": "5s",
            },
        },
    },
}


async def lived(t: Talk) -> str:
    """A little of everything that metrics tell; then the page."""
    t.upstream.script("m", ["Hel", "lo"])
    for text, fields in (("hi", {}), ("hi", {"stream": True}), ("hi", {"model": "free"}), ("hi", {"model": "cut", "stream": True}), ("project bluebird", {}), ("hi", {"model": "nope"}), ("I forgot my password", {"model": "support"})):  # fmt: skip
        await t.ask(text, **fields)
    await asyncio.gather(*(t.ask(f"hi {at}", model="free") for at in range(8)))  # one at a time: some must queue
    await t.ask("word " * 100_000)  # too long for a deadline of 1 ms: not scanned
    await t.send(b"{")
    await t.http.get("/v1/nothing-here")
    await until(lambda: len(t.gateway.aftermath) == 0)
    return await page(t)


async def test_what_alerts_and_panels_ask_for_is_scraped(talk: Converse, minilm_dir: Path) -> None:
    """After a few requests of each kind, with Redis out of reach and a pool that is found and read, every metric of every
    rule and panel has a sample with the labels that are asked of it."""
    load = (200, (Path(__file__).parents[1] / "fixtures/scrapes/vllm-0.11.txt").read_text())
    with nobody() as redis:
        async with EngineServer({"/metrics": load, "/health": (200, "")}) as engine, NameServer() as names:
            names.names["gpu.pool"] = ["127.0.0.1"]
            found_by = {"dns": "gpu.pool", "port": engine.port, "path": "/v1", "resolver": names.address}
            gpu = {"type": "vllm", "discover": found_by, "metrics": {"every": "50ms"}}
            async with talk(redis=redis.replace("http", "redis"), providers={"gpu": gpu}, **RICH) as t:
                ends = t.gateway.pools.all["gpu"].endpoints
                await until(lambda: ends.all and ends.all[0].reading is not None)
                found = scraped(await lived(t))
    for expr in (*expressions(), *(rule["expr"] for rule in rules())):
        for name, labels in asked(expr).items():
            assert name in found, f"{name} has no sample; asked for by {expr}"
            assert labels <= found[name] | {"instance", "job"}, expr


async def test_labels_are_what_the_operator_wrote(talk: Converse, minilm_dir: Path) -> None:
    """Unknown models, users, sessions, tags, paths, and what upstreams call themselves: none of it is a label's value."""
    async with talk(**RICH) as t:
        marks = {"x-tidegate-user": "zz-user", "x-tidegate-session": "zz-session", "x-tidegate-tags": "zz-tag", "x-request-id": "zz-request-id"}  # fmt: skip
        for at in range(3):
            t.upstream.script(f"m{at}", ["x"])
            await t.ask("zz-prompt", model=f"zz-model-{at}", headers=marks)
            await t.ask("zz-prompt", headers=marks)
            await t.http.get(f"/v1/zz-path-{at}")
            await t.http.get(f"/v1/models/zz-{at}")
        text = await lived(t)
    assert "zz" not in text


async def test_an_ill_endpoint_is_a_gauge(talk: Converse) -> None:
    """What alerts call a dependency that is cut off includes each provider's endpoints."""
    async with talk(models={"m": {"targets": [{"provider": "up", "model": "m"}], "retry": {"attempts": 5}}}) as t:
        name = "tidegate_breaker_open"
        label = f"up@{t.upstream.url.removeprefix('http://')}"
        assert value(await page(t), name, dependency=label) == 0
        t.upstream.reply("m", 500, {"error": {"message": "no"}}, retry_after="0")
        await t.ask("hi")
        assert value(await page(t), name, dependency=label) == 1


async def test_the_dropped_are_counted_by_kind(talk: Converse) -> None:
    """Receipts that a recorder missed, cache writes and traces each have a counter from the start."""
    with collector() as kept:
        async with served(talk, kept.url) as t:
            name = "tidegate_receipts_dropped_total"
            text = await page(t)
            assert {kind: value(text, name, kind=kind) for kind in ("traces", "console", "cache_writes")} == {"traces": 0, "console": 0, "cache_writes": 0}  # fmt: skip
            assert t.gateway.traces is not None
            t.gateway.traces.outbox.dropped = 3
            assert value(await page(t), name, kind="traces") == 3


async def test_metrics_can_be_switched_off(talk: Converse) -> None:
    """`prometheus: false` serves no page."""
    async with talk(telemetry={"log": "off", "prometheus": False}) as t:
        reply = await t.http.get("/metrics")
        assert (reply.status_code, json.loads(reply.text)["error"]["code"]) == (404, "not_found")
