"""What is seen of an endpoint from outside: whether it is well, and what its engine tells. Over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from gateway.core.clock import ManualClock
from gateway.pools.endpoint import Endpoint
from gateway.pools.endpoints import Endpoints
from gateway.providers import watch_get
from gateway.providers.config import ProviderConfig, profile_of
from gateway.providers.http_client import HttpClient
from gateway.providers.watch import ways_of
from gateway.providers.watch_config import HealthConfig, MetricsConfig
from gateway.providers.watch_endpoint import RARELY, EndpointWatch
from gateway.providers.watch_get import LIMITS, HttpGet, Unreachable, page_url
from gateway.providers.watch_pool import PoolWatch
from tests.fixtures.engine_server import Answer, EngineServer

PAGES = Path(__file__).parents[1] / "fixtures/scrapes"
VLLM = (PAGES / "vllm-0.11.txt").read_text()
MODELS = (PAGES / "vllm-models.json").read_text()


class World:
    """One endpoint of a type, watched by hand: nothing runs by itself."""

    def __init__(self, http: HttpClient, server: EngineServer, kind: str, config: dict[str, Any]) -> None:
        self.server = server
        self.clock = ManualClock()
        self.told: list[tuple[str, dict[str, Any]]] = []
        said = ProviderConfig(type=kind, base_url=server.base_url, **{"health": "on", "metrics": "on", **config})
        self.endpoints = Endpoints([server.base_url], "least_inflight", self.clock)
        self.pool = PoolWatch(
            "gpu",
            self.endpoints,
            ways_of(said, profile_of(said)),
            HttpGet(http, [("authorization", "Bearer k")]),
            self.clock,
            lambda event, **facts: self.told.append((event, facts)),
        )

    @property
    def endpoint(self) -> Endpoint:
        return self.endpoints.all[0]

    @property
    def watch(self) -> EndpointWatch:
        return self.pool.members[self.endpoint.url].watch

    @property
    def events(self) -> list[str]:
        return [event for event, _ in self.told]


class Worlds:
    def __init__(self) -> None:
        self.http = HttpClient(limits=LIMITS)
        self.servers: list[EngineServer] = []

    async def __call__(self, kind: str, pages: dict[str, Answer | None], **config: Any) -> World:
        server = EngineServer(pages)
        await server.start()
        self.servers.append(server)
        return World(self.http, server, kind, config)


@pytest_asyncio.fixture
async def world() -> AsyncIterator[Worlds]:
    made = Worlds()
    yield made
    await made.http.aclose()
    for server in made.servers:
        await server.stop()


# --- health


async def test_one_good_answer_makes_well(world: Worlds) -> None:
    """And the probe goes to the page of the engine's kind, beside the API."""
    w = await world("vllm", {"/health": (200, "")})
    w.endpoint.healthy = False
    await w.watch.probe()
    assert w.endpoint.healthy
    assert w.server.asked == ["/health"]


async def test_ill_is_said_after_several_failures_in_a_row(world: Worlds) -> None:
    """One bad answer is none of them, and a good one between begins anew."""
    w = await world("vllm", {"/health": (200, "")}, health=HealthConfig(failures=3))
    await w.watch.probe()
    for status, well in ((500, True), (500, True), (200, True), (500, True), (500, True), (500, False), (500, False)):
        w.server.pages["/health"] = (status, "")
        await w.watch.probe()
        assert w.endpoint.healthy is well
    assert w.events == ["endpoint is ill"]
    assert "HTTP 500" in w.told[0][1]["why"]


async def test_an_engine_that_says_it_is_loading_is_believed_at_once(world: Worlds) -> None:
    """llama.cpp's 503 is its own word; SGLang's may only mean that it is busy, and must come several times."""
    w = await world("llama-cpp", {"/health": (503, "loading")})
    await w.watch.probe()
    assert not w.endpoint.healthy
    assert "not ready" in w.watch.ill
    busy = await world("sglang", {"/health": (503, "")})
    await busy.watch.probe()
    assert busy.endpoint.healthy


async def test_a_slow_answer_is_no_illness(world: Worlds) -> None:
    """A saturated engine that does not answer in time counts as any other failure: only several in a row."""
    w = await world("vllm", {"/health": None}, health=HealthConfig(timeout=0.02, failures=3))
    for well in (True, True, False):
        await w.watch.probe()
        assert w.endpoint.healthy is well
    assert "no answer within" in w.watch.ill


async def test_a_server_that_is_gone_is_ill_and_comes_back_empty(world: Worlds) -> None:
    """After being away it is well at the first answer, and its caches count as new; after mere slowness they do not."""
    w = await world("tgi", {"/health": (200, "")}, health=HealthConfig(failures=1, timeout=0.05), metrics="off")
    await w.watch.probe()
    assert w.endpoint.reading is not None
    seen = w.endpoint.reading.started
    w.clock.advance(60)
    w.server.pages["/health"] = None
    await w.watch.probe()
    w.server.pages["/health"] = (200, "")
    await w.watch.probe()
    assert w.endpoint.healthy
    assert w.endpoint.reading.started == seen, "slow is not gone"
    port = w.server.port
    await w.server.stop()
    await w.watch.probe()
    assert not w.endpoint.healthy
    w.clock.advance(60)
    await w.server.start(port)
    await w.watch.probe()
    assert w.endpoint.healthy
    assert w.endpoint.reading.started == w.clock.wall() / 1e9


async def test_a_server_that_never_came_up_is_ill_at_once(world: Worlds) -> None:
    """Nothing listens there and nothing ever did: that needs no second look."""
    w = await world("vllm", {})
    await w.server.stop()
    await w.watch.probe()
    assert not w.endpoint.healthy


async def test_a_missing_health_page_is_an_answer(world: Worlds) -> None:
    """Whoever says 404 or 401 is there."""
    w = await world("vllm", {}, health=HealthConfig(path="/up"))
    await w.watch.probe()
    assert w.endpoint.healthy
    assert w.server.asked == ["/up"]


async def test_the_last_endpoint_is_never_taken_away(world: Worlds) -> None:
    """Ill, drained or both: while there is no other, calls still go there."""
    w = await world("llama-cpp", {"/health": (503, "")})
    await w.watch.probe()
    w.pool.drain({w.endpoint.url})
    lease = w.endpoints.lease()
    assert lease is not None
    assert lease.endpoint is w.endpoint


async def test_health_and_load_are_separate(world: Worlds) -> None:
    """Whatever probes and scrapes say, what we have under way is not touched."""
    w = await world("vllm", {"/health": (503, ""), "/metrics": (200, VLLM), "/v1/models": (200, MODELS)})
    leases = [w.endpoints.lease() for _ in range(5)]
    for status in (503, 200, 500, 503, 200):
        w.server.pages["/health"] = (status, "")
        await w.watch.probe()
        await w.watch.scrape()
        assert w.endpoint.in_flight == 5
    for lease in leases:
        assert lease is not None
        lease.end(True)
    assert w.endpoint.in_flight == 0


# --- metrics


async def test_a_scrape_is_a_reading(world: Worlds) -> None:
    """All pages of the engine in one, with the credential of the calls, and when it was read."""
    w = await world("vllm", {"/metrics": (200, VLLM), "/v1/models": (200, MODELS)})
    w.clock.advance(5)
    await w.watch.scrape()
    reading = w.endpoint.reading
    assert reading is not None
    assert (reading.waiting, reading.running, reading.kv) == (4, 7, 0.5)
    assert reading.models == {"qwen3-8b", "sql"}
    assert reading.at == w.clock.now()
    assert w.server.headers[-1]["authorization"] == "Bearer k"
    assert w.told == []


async def test_what_hardly_changes_is_read_rarely(world: Worlds) -> None:
    """The list of models is asked for every half minute, and kept in between."""
    w = await world("vllm", {"/metrics": (200, VLLM), "/v1/models": (200, MODELS)})
    for _ in range(3):
        await w.watch.scrape()
    assert w.server.asked.count("/v1/models") == 1
    assert w.endpoint.reading is not None
    assert w.endpoint.reading.models
    w.clock.advance(RARELY)
    await w.watch.scrape()
    assert w.server.asked.count("/v1/models") == 2


async def test_a_dead_metrics_page_leaves_the_last_reading(world: Worlds) -> None:
    """It grows stale and says so, once; calls go on, and the reading is new again when the page is."""
    w = await world("vllm", {"/metrics": (200, VLLM), "/v1/models": (200, MODELS)}, metrics=MetricsConfig(timeout=0.02))
    await w.watch.scrape()
    kept = w.endpoint.reading
    for answer in (None, (500, ""), (200, "vllm:num_requests_waiting oops\n")):
        w.server.pages["/metrics"] = answer
        await w.watch.scrape()
    assert w.endpoint.reading is kept
    assert kept is not None
    assert not kept.stale(w.clock.now())
    assert w.told == []
    w.clock.advance(11)
    await w.watch.scrape()
    await w.watch.scrape()
    assert kept.stale(w.clock.now())
    assert w.events == ["metrics cannot be read"]
    assert w.watch.failed_scrapes == 5
    assert w.endpoint.ready(w.clock.now())
    assert w.endpoints.lease() is not None
    w.server.pages["/metrics"] = (200, VLLM)
    await w.watch.scrape()
    assert w.endpoint.reading is not kept
    assert w.events[-1] == "metrics are read again"


async def test_a_missing_name_is_an_alarm_once(world: Worlds) -> None:
    """A rename by the engine is told with the name, once, and told when it is there again."""
    renamed = VLLM.replace("vllm:kv_cache_usage_perc", "vllm:kv_share")
    w = await world("vllm", {"/metrics": (200, renamed), "/v1/models": (200, MODELS)})
    for _ in range(3):
        await w.watch.scrape()
    assert w.events == ["engine metrics are missing"]
    assert w.told[0][1]["names"] == ["vllm:kv_cache_usage_perc"]
    assert dict(w.pool.missing) == {"vllm:kv_cache_usage_perc": 1}
    assert w.endpoint.reading is not None
    assert (w.endpoint.reading.waiting, w.endpoint.reading.kv) == (4, None)
    w.server.pages["/metrics"] = (200, VLLM)
    await w.watch.scrape()
    assert w.events[-1] == "engine metrics are all there again"
    assert not w.pool.missing


@pytest.mark.parametrize("status", [404, 501])
async def test_an_engine_started_without_metrics_is_an_alarm(world: Worlds, status: int) -> None:
    """All its names are missing; llama.cpp's slots then still say how many calls it works on."""
    slots = (PAGES / "llama-cpp-slots.json").read_text()
    props = (PAGES / "llama-cpp-props.json").read_text()
    pages: dict[str, Answer | None] = {"/metrics": (status, ""), "/slots": (200, slots), "/props": (200, props)}
    w = await world("llama-cpp", {**pages, "/v1/models": (200, '{"data": [{"id": "demo"}]}')})
    await w.watch.scrape()
    assert w.endpoint.reading is not None
    assert (w.endpoint.reading.running, w.endpoint.reading.slots, w.endpoint.reading.waiting) == (2, 4, None)
    assert "llamacpp:requests_deferred" in w.pool.missing


async def test_slots_are_not_asked_where_there_are_metrics(world: Worlds) -> None:
    """A page that stands in for another is left alone while that one answers."""
    page = (PAGES / "llama-cpp-2026.txt").read_text()
    w = await world("llama-cpp", {"/metrics": (200, page), "/slots": (200, "[]")})
    await w.watch.scrape()
    assert "/slots" not in w.server.asked


async def test_a_restart_is_seen_by_the_start_time(world: Worlds) -> None:
    """An engine that says when it started has started anew when that is later."""
    w = await world("vllm", {"/metrics": (200, VLLM), "/v1/models": (200, MODELS)})
    await w.watch.scrape()
    w.server.pages["/metrics"] = (200, VLLM.replace("1.76012345e+09", "1.76022345e+09"))
    await w.watch.scrape()
    assert w.endpoint.reading is not None
    assert w.endpoint.reading.started == 1.76022345e9
    assert w.events == ["endpoint has started anew"]


async def test_a_restart_is_seen_by_counters_that_fall(world: Worlds) -> None:
    """An engine that does not say when it started has started anew when its counters are less than they were."""
    page = (PAGES / "llama-cpp-2026.txt").read_text()
    w = await world("llama-cpp", {"/metrics": (200, page)})
    await w.watch.scrape()
    assert w.endpoint.reading is not None
    seen = w.endpoint.reading.started
    assert seen == w.clock.wall() / 1e9, "not later than when it was first seen"
    w.clock.advance(3)
    await w.watch.scrape()
    assert w.endpoint.reading.started == seen
    w.clock.advance(3)
    w.server.pages["/metrics"] = (200, page.replace("prompt_tokens_total 61", "prompt_tokens_total 2"))
    await w.watch.scrape()
    since = w.clock.wall() / 1e9
    assert w.endpoint.reading.started == since
    w.clock.advance(3)
    await w.watch.scrape()
    assert w.endpoint.reading.started == since, "once, not at every reading since"


async def test_adapters_are_known(world: Worlds) -> None:
    """What vLLM has loaded, what waits, and how many fit."""
    w = await world(
        "vllm", {"/metrics": (200, (PAGES / "vllm-0.11-lora.txt").read_text()), "/v1/models": (200, MODELS)}
    )
    await w.watch.scrape()
    reading = w.endpoint.reading
    assert reading is not None
    assert (reading.adapters, reading.loading, reading.most_adapters) == ({"sql", "tone"}, {"legal"}, 2)


async def test_a_page_is_bounded(world: Worlds, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that does not end is not read to its end."""
    monkeypatch.setattr(watch_get, "MOST_PAGE", 1000)
    w = await world("vllm", {"/metrics": (200, "x" * 5000)})
    with pytest.raises(Unreachable, match="larger than 1000"):
        await HttpGet(world.http, [])(page_url(w.endpoint.url, "/metrics", None), seconds=5)


@pytest.mark.parametrize(
    ("base", "path", "port", "url"),
    [
        ("http://h:8000/v1", "/metrics", None, "http://h:8000/metrics"),
        ("http://h:8000", "/metrics", None, "http://h:8000/metrics"),
        ("https://h/gpu/a/v1", "/health", None, "https://h/gpu/a/health"),
        ("http://h:9000/v1", "/metrics", 8002, "http://h:8002/metrics"),
        ("http://[fd00::1]:9000/v1", "/metrics", 8002, "http://[fd00::1]:8002/metrics"),
    ],
)
def test_pages_are_beside_the_api(base: str, path: str, port: int | None, url: str) -> None:
    """On the same host, above `/v1`, and on another port where the engine has one for it."""
    assert page_url(base, path, port) == url


# --- life


async def test_it_runs_by_itself_and_stops_whole(world: Worlds) -> None:
    """Probes and scrapes go on at their pace; after the stop no task is left, and nothing is asked any more."""
    every = {"health": HealthConfig(every=0.01), "metrics": MetricsConfig(every=0.01)}
    w = await world("vllm", {"/health": (200, ""), "/metrics": (200, VLLM), "/v1/models": (200, MODELS)}, **every)
    before = asyncio.all_tasks()
    w.pool.start()
    await w.server.until_asked("/health", 3)
    await w.server.until_asked("/metrics", 3)
    assert w.server.connections <= 2, "one for probes and one for scrapes, kept"
    await w.pool.stop()
    ours = {task.get_name() for task in asyncio.all_tasks() - before}
    assert not ours & {"probe", "scrape", "look-up"}


async def test_a_mistake_does_not_end_the_watch(world: Worlds, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error nobody thought of is told, and the next look is made."""
    w = await world("vllm", {"/health": (200, "")}, health=HealthConfig(every=0.01), metrics="off")
    fails = iter([ZeroDivisionError])
    real = w.watch.probe

    async def probe() -> None:
        for error in fails:
            raise error
        await real()

    monkeypatch.setattr(w.watch, "probe", probe)
    w.pool.start()
    await w.server.until_asked("/health")
    await w.pool.stop()
    assert w.told == [("watch failed", {"provider": "gpu", "endpoint": w.endpoint.label, "kind": "ZeroDivisionError"})]
