"""A pool behind a whole gateway: found by a real name server, watched over real sockets, with real llama.cpp servers and a
real Redis behind it."""

from __future__ import annotations

import asyncio
import io
import json
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway import config as configuration
from gateway.admission.config import KeyEntry, KeyFile
from gateway.admission.keyring import hash_of, new_key, write_key_file
from gateway.app import Gateway
from gateway.demo.files import model_file
from gateway.demo.gguf import build_copy, build_tiny
from gateway.demo.llamacpp import LlamaServer
from gateway.faults.server import FaultServer
from gateway.faults.steps import Gate
from gateway.telemetry import logs
from tests.fixtures.engine_server import NameServer
from tests.fixtures.gateway import WAIT, Ledger, Talk, running
from tests.fixtures.raw_client import until

NAME = "vllm-headless.models.svc"
QUICK = {"every": "100ms"}


@asynccontextmanager
async def gateway(
    base: Path, provider: dict[str, Any], *, logger: logs.Logger | None = None, **sections: Any
) -> AsyncIterator[Talk]:
    """With one provider, `gpu`, and one model, `m`."""
    value = {
        "version": 1,
        "providers": {"gpu": provider},
        "models": {"m": {"targets": [{"provider": "gpu", "model": "ok"}]}},
        "telemetry": {"log": "off"},
        **sections,
    }
    config = configuration.of_value(value, base)
    ledger = Ledger()
    made = Gateway(config, base, logger=logger or logs.setup("off"), recorders=[ledger])
    async with running(made) as url, httpx.AsyncClient(base_url=url, timeout=WAIT) as http:
        nobody: Any = None
        yield Talk(made, url, nobody, nobody, ledger, http)


async def rows(t: Talk, **headers: str) -> dict[str, dict[str, Any]]:
    """What the gateway knows of each endpoint, by `host:port`."""
    reply = await t.http.get("/admin/v1/endpoints", headers=headers)
    assert reply.status_code == 200, reply.text
    return {row["endpoint"]: row for row in reply.json()["endpoints"]}


async def drain(t: Talk, endpoint: str, on: bool, **headers: str) -> httpx.Response:
    body = {"provider": "gpu", "endpoint": endpoint, "drain": on}
    return await t.http.post("/admin/v1/endpoints/drain", json=body, headers=headers)


def discovered(names: NameServer, port: int, **more: Any) -> dict[str, Any]:
    found = {"dns": NAME, "port": port, "resolver": names.address, "every": "100ms", "keep": "0ms"}
    return {"type": "openai-compatible", "discover": {**found, **more}}


async def until_found(t: Talk, *hosts: str) -> None:
    endpoints = t.gateway.pools.all["gpu"].endpoints
    await until(lambda: {e.label.partition(":")[0] for e in endpoints.all} == set(hosts))


async def test_a_pool_comes_up_grows_and_shrinks(tmp_path: Path) -> None:
    """A gateway whose name has no address yet starts and says that it is not ready; then replicas appear, share the calls, and
    one goes while its call is under way: that call ends whole, and no request fails."""
    async with AsyncExitStack() as stack:
        names = await stack.enter_async_context(NameServer())
        one = await stack.enter_async_context(FaultServer())
        two = await stack.enter_async_context(FaultServer(host="127.0.0.2", port=one.port))
        t = await stack.enter_async_context(gateway(tmp_path, discovered(names, one.port)))
        ready = await t.http.get("/readyz")
        assert ready.status_code == 503
        assert ready.json()["status"] == "waiting"
        assert NAME in ready.json()["waiting"]
        assert NAME in ready.json()["degraded"]["pool:gpu"]
        refused = await t.ask("hi")
        assert refused.status == 502
        assert "No endpoint" in refused.error["message"]

        names.names[NAME] = ["127.0.0.1"]
        await until_found(t, "127.0.0.1")
        assert (await t.http.get("/readyz")).json() == {"status": "ready", "degraded": {}}
        assert (await t.ask("hi")).status == 200

        names.names[NAME] = ["127.0.0.1", "127.0.0.2"]
        await until_found(t, "127.0.0.1", "127.0.0.2")
        assert {(await t.ask(f"hi {n}")).status for n in range(8)} == {200}
        assert one.requests
        assert two.requests

        ends = asyncio.Event()
        two.script("ok", ["begun", Gate(ends), " and ended"])
        one.script("ok", ["begun", Gate(ends), " and ended"])
        calls = [asyncio.create_task(t.ask(f"long {n}", stream=True)) for n in range(2)]
        await until(lambda: one.inflight == two.inflight == 1)
        names.names[NAME] = ["127.0.0.1"]
        pool = t.gateway.pools.all["gpu"]
        await until(lambda: any(endpoint.draining for endpoint in pool.endpoints.all))
        assert (await rows(t))[f"127.0.0.2:{one.port}"]["leaving"]
        ends.set()
        assert [reply.text for reply in await asyncio.gather(*calls)] == ["begun and ended"] * 2
        await until_found(t, "127.0.0.1")
        assert (await t.ask("after")).status == 200


async def test_no_request_fails_while_replicas_come_and_go(tmp_path: Path) -> None:
    """Names that change, vanish and fail under load, drains and takings back in between: every answer is whole, and every count
    is zero at the end."""
    async with AsyncExitStack() as stack:
        names = await stack.enter_async_context(NameServer())
        one = await stack.enter_async_context(FaultServer())
        hosts = ["127.0.0.1", *(f"127.0.0.{n}" for n in range(2, 5))]
        for host in hosts[1:]:
            await stack.enter_async_context(FaultServer(host=host, port=one.port))
        names.names[NAME] = hosts
        by_hand = discovered(names, one.port, every="1h")
        t = await stack.enter_async_context(gateway(tmp_path, by_hand))
        pool = t.gateway.pools.all["gpu"]
        known: dict[str, Any] = {}
        chance = random.Random(7)
        for _ in range(25):
            names.names[NAME] = chance.sample(hosts, chance.randint(0, 4))
            names.broken = {"*"} if chance.random() < 0.2 else set()
            drained = chance.sample(sorted(pool.members), min(len(pool.members), chance.randint(0, 2)))
            pool.drain(set(drained))
            calls = [asyncio.create_task(t.ask(f"hi {n}", stream=n % 2 == 0)) for n in range(8)]
            await pool.look_up()
            known |= {id(endpoint): endpoint for endpoint in pool.endpoints.all}
            replies = await asyncio.gather(*calls)
            if pool.members:
                assert {(reply.status, reply.whole) for reply in replies} == {(200, True)}
            else:  # gone, all of them: said, and not hung
                assert {reply.status for reply in replies} <= {200, 502}
            if not pool.members:
                names.names[NAME], names.broken = hosts, set()
                await pool.look_up()
        assert all(endpoint.in_flight == 0 for endpoint in known.values())


async def test_a_name_server_that_fails_stops_nothing(tmp_path: Path) -> None:
    """What was found goes on answering, and `/readyz` says what is wrong without calling the gateway unready."""
    async with NameServer() as names, FaultServer() as one:
        names.names[NAME] = ["127.0.0.1"]
        async with gateway(tmp_path, discovered(names, one.port)) as t:
            names.broken = {"*"}
            await until(lambda: t.gateway.pools.all["gpu"].trouble)
            ready = await t.http.get("/readyz")
            assert ready.status_code == 200
            assert "cannot be looked up" in ready.json()["degraded"]["pool:gpu"]
            assert (await t.ask("hi")).status == 200


async def test_an_operator_drains_and_takes_back(tmp_path: Path) -> None:
    """A drained endpoint gets nothing new while there is another; the last one is still asked."""
    async with FaultServer() as one, FaultServer() as two:
        provider = {"type": "openai-compatible", "endpoints": [one.base_url, two.base_url]}
        async with gateway(tmp_path, provider) as t:
            first, second = f"127.0.0.1:{one.port}", f"127.0.0.1:{two.port}"
            told = (await drain(t, first, True)).json()
            assert told["reach"] == "this process only"
            assert told["endpoint"]["drained_by_operator"]
            assert told["endpoint"]["draining"]
            assert {(await t.ask(f"hi {n}")).status for n in range(6)} == {200}
            assert (len(one.requests), len(two.requests)) == (0, 6)
            await drain(t, two.base_url, True)
            assert (await t.ask("hi")).status == 200
            for endpoint in (first, second):
                assert not (await drain(t, endpoint, False)).json()["endpoint"]["draining"]
            unknown = await drain(t, "127.0.0.1:1", True)
            assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "endpoint_not_found")
            said = await t.http.post("/admin/v1/endpoints/drain", json={"provider": "gpu", "endpoint": first})
            assert said.status_code == 400, "drain must be said"


async def test_only_an_admin_sees_and_drains(tmp_path: Path) -> None:
    """Where keys are in force, another key is refused, and nothing happens."""
    (admin, admin_id), (plain, plain_id) = new_key(), new_key()
    entries = [KeyEntry(id=admin_id, hash=hash_of(admin), admin=True), KeyEntry(id=plain_id, hash=hash_of(plain))]
    write_key_file(tmp_path / "keys.yaml", KeyFile(keys=entries))
    async with FaultServer() as one, FaultServer() as two:
        provider = {"type": "openai-compatible", "endpoints": [one.base_url, two.base_url]}
        async with gateway(tmp_path, provider, access={"keys": "keys.yaml"}) as t:
            for key in ("", plain):
                headers = {"authorization": f"Bearer {key}"} if key else {}
                assert (await t.http.get("/admin/v1/endpoints", headers=headers)).status_code == 401
                assert (await drain(t, f"127.0.0.1:{one.port}", True, **headers)).status_code == 401
            found = await rows(t, authorization=f"Bearer {admin}")
            assert len(found) == 2
            assert not any(row["draining"] for row in found.values())


async def test_a_drain_reaches_every_gateway_of_one_redis(tmp_path: Path, redis_url: str) -> None:
    """Those that run hear of it, one that starts later too, and taking back reaches them as well."""
    async with FaultServer() as one, FaultServer() as two:
        provider = {"type": "openai-compatible", "endpoints": [one.base_url, two.base_url]}
        label = f"127.0.0.1:{one.port}"
        async with (
            gateway(tmp_path, provider, redis=redis_url) as t,
            gateway(tmp_path, provider, redis=redis_url) as other,
        ):
            told = (await drain(t, label, True)).json()
            assert told["reach"] == "every process that shares this Redis"
            await other.gateway.pools._take_drains()
            assert (await rows(other))[label]["drained_by_operator"]
            async with gateway(tmp_path, provider, redis=redis_url) as later:
                assert (await rows(later))[label]["draining"]
            await drain(other, label, False)
            await t.gateway.pools._take_drains()
            assert not (await rows(t))[label]["draining"]


async def test_an_adapter_is_what_the_engine_is_asked_for(tmp_path: Path) -> None:
    """A target of base and adapter sends the adapter's name, and the client's model name stays the client's."""
    async with FaultServer() as one:
        provider = {"type": "vllm", "base_url": one.base_url}
        one.script("sql-lora", ["fine"])
        models = {"sql": {"targets": [{"provider": "gpu", "model": "qwen3-8b", "adapter": "sql-lora"}]}}
        async with gateway(tmp_path, provider, models=models) as t:
            assert (await t.ask("hi", model="sql")).text == "fine"
            assert json.loads(one.requests[-1].body)["model"] == "sql-lora"


# --- real engines


@asynccontextmanager
async def llamas(count: int, path: Path | None = None) -> AsyncIterator[list[LlamaServer]]:
    """Servers of the model `ok` with two slots each: the demo's, or that of `path`."""
    path = path or model_file("demo", build_copy)[0]
    async with AsyncExitStack() as stack:
        servers = [LlamaServer(path, alias="ok", parallel=2, ctx=8192) for _ in range(count)]
        yield list(await asyncio.gather(*(stack.enter_async_context(server) for server in servers)))


async def test_real_engines_are_watched(tmp_path: Path) -> None:
    """Two llama.cpp servers found by their SRV records: their readings, one dying without costing an answer, and coming back
    with an empty cache."""
    async with NameServer() as names, llamas(2) as (one, two):
        names.services["_http._tcp.llama"] = [f"0 0 {server.port} localhost." for server in (one, two)]
        provider = {
            "type": "llama-cpp",
            "discover": {"dns": "_http._tcp.llama", "resolver": names.address},
            "balance": "prefix",
            "health": {**QUICK, "failures": 2},
            "metrics": QUICK,
        }
        async with gateway(tmp_path, provider) as t:
            endpoints = {endpoint.label: endpoint for endpoint in t.gateway.pools.all["gpu"].endpoints.all}
            await until(lambda: all(e.reading is not None and e.reading.models for e in endpoints.values()))
            for _ in range(3):
                assert (await t.ask("say: tides turn twice a day")).text == "tides turn twice a day"
            await until(lambda: sum(e.reading.prompt_tokens for e in endpoints.values()) > 0)
            found = await rows(t)
            assert {row["slots"] for row in found.values()} == {2}
            assert not any(row["missing"] or row["stale"] for row in found.values())
            assert all(row["in_flight"] == 0 and row["well"] for row in found.values())

            busiest = max(endpoints.values(), key=lambda e: e.reading.prompt_tokens)
            began = busiest.reading.started
            server = next(s for s in (one, two) if busiest.label.endswith(f":{s.port}"))
            await server.stop()
            assert (await t.ask("say: still here")).text == "still here"
            await until(lambda: not busiest.healthy)
            degraded = (await t.http.get("/readyz")).json()["degraded"]["pool:gpu"]
            assert f"1 of 2 endpoints are ill: {busiest.label}" in degraded
            await server.start()
            await until(lambda: busiest.healthy and busiest.reading.started > began)
            assert "pool:gpu" not in (await t.http.get("/readyz")).json()["degraded"]

            page = (await t.http.get("/metrics")).text
            at = f'endpoint="{busiest.label}",provider="gpu"'
            assert any(
                line.startswith("tidegate_endpoint_well{") and busiest.label in line for line in page.splitlines()
            ), at
            assert 'tidegate_engine_metric_missing{name="llamacpp:requests_deferred",provider="gpu"} 0.0' in page
            assert 'tidegate_endpoints{provider="gpu"} 2.0' in page


async def test_what_a_busy_engine_says(tmp_path: Path) -> None:
    """More calls than slots: the reading tells what runs and what waits, and is zero again when all are answered."""
    build_tiny(tmp_path / "noise.gguf", width=256, layers=4)
    async with llamas(1, tmp_path / "noise.gguf") as (one,):
        provider = {"type": "llama-cpp", "endpoints": [one.base_url], "health": "on", "metrics": QUICK}
        async with gateway(tmp_path, provider) as t:
            (endpoint,) = t.gateway.pools.all["gpu"].endpoints.all
            endless = {"stream": True, "max_tokens": 100_000, "ignore_eos": True}
            calls = [asyncio.create_task(t.ask(f"talk {n}", **endless)) for n in range(5)]
            await until(lambda: endpoint.reading is not None and endpoint.reading.running == 2)
            await until(lambda: endpoint.reading.waiting == 3)
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
            await until(lambda: endpoint.reading.running == endpoint.reading.waiting == 0)
            assert endpoint.in_flight == 0
            assert endpoint.healthy


async def test_a_line_is_logged_when_something_changes(tmp_path: Path) -> None:
    """Once for each change, with the provider and the endpoint, and none while things stay as they are."""
    lines = io.StringIO()
    async with NameServer() as names, FaultServer() as one:
        provider = {
            **discovered(names, one.port),
            "health": {"path": "/health", **QUICK, "failures": 1},
            "api_key": "sk-s",
        }
        async with gateway(tmp_path, provider, logger=logs.setup("json", lines)) as t:
            names.names[NAME] = ["127.0.0.1"]
            await until_found(t, "127.0.0.1")
            await drain(t, f"127.0.0.1:{one.port}", True)
            pool = t.gateway.pools.all["gpu"]
            (endpoint,) = pool.endpoints.all
            await one.stop()
            await until(lambda: not endpoint.healthy)
            await pool.members[endpoint.url].watch.probe()
            await pool.look_up()
    told = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert [line["event"] for line in told] == [
        "no endpoint is found",
        "endpoints changed",
        "endpoint drained",
        "endpoint is ill",
    ]
    assert all(line["provider"] == "gpu" and line["level"] == "warning" for line in told)
    assert told[1]["come"] == [f"127.0.0.1:{one.port}"]
    assert "sk-s" not in lines.getvalue()


async def test_endpoints_of_one_host_have_gauges_of_their_own(tmp_path: Path) -> None:
    """Two that differ by their path only are two series, and a drain must say which is meant."""
    async with FaultServer() as one:
        urls = [f"{one.url}/a/v1", f"{one.url}/b/v1"]
        async with gateway(tmp_path, {"type": "openai-compatible", "endpoints": urls}) as t:
            page = (await t.http.get("/metrics")).text
            assert page.count("\ntidegate_endpoint_well{") == 2
            assert f'endpoint="127.0.0.1:{one.port}/a/v1"' in page
            unsure = await drain(t, f"127.0.0.1:{one.port}", True)
            assert unsure.status_code == 404
            assert "give the whole URL" in unsure.json()["error"]["message"]
            assert (await drain(t, urls[1], True)).json()["endpoint"]["url"] == urls[1]


async def test_nothing_is_left_after_the_stop(tmp_path: Path) -> None:
    """No task and no connection of the watch outlives its gateway."""
    async with NameServer() as names, FaultServer() as one:
        names.names[NAME] = ["127.0.0.1"]
        provider = {**discovered(names, one.port), "health": {"path": "/health", **QUICK}}
        before = asyncio.all_tasks()
        async with gateway(tmp_path, provider) as t:
            assert (await t.ask("hi")).status == 200
            pools = t.gateway.pools
            assert {"probe", "look-up", "drains"} <= {task.get_name() for task in asyncio.all_tasks() - before}
        assert not {"probe", "look-up", "drains"} & {task.get_name() for task in asyncio.all_tasks() - before}
        assert pools._http.connections == 0
        await until(lambda: one.connections == 0)


@pytest.mark.parametrize("path", ["/admin/v1/endpoints", "/admin/v1/endpoints/drain"])
async def test_the_pages_hold_no_secret(tmp_path: Path, path: str) -> None:
    """A provider's key is in nothing that is told of its endpoints."""
    async with FaultServer() as one:
        provider = {"type": "openai-compatible", "base_url": one.base_url, "api_key": "sk-very-secret"}
        async with gateway(tmp_path, provider) as t:
            reply = await (t.http.get(path) if path.endswith("s") else drain(t, f"127.0.0.1:{one.port}", True))
            assert reply.status_code == 200
            assert "sk-very-secret" not in reply.text + str(reply.headers)
