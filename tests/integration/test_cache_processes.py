"""Three real gateway processes and one Redis: one upstream call, also when the process that makes it is killed."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from gateway.faults.server import FaultServer
from gateway.faults.steps import HANG
from tests.fixtures.redis import free_port

UP = 60.0
"""Seconds within which a process must be up; only a hang may fail here."""


class Process:
    """A `tidegate serve` process and a client of it."""

    def __init__(self, process: asyncio.subprocess.Process, http: httpx.AsyncClient) -> None:
        self.process = process
        self.http = http

    async def up(self) -> Process:
        async with asyncio.timeout(UP):
            while True:
                assert self.process.returncode is None
                with contextlib.suppress(httpx.TransportError):
                    if (await self.http.get("/readyz")).status_code == 200:
                        return self
                await asyncio.sleep(0.1)

    async def ask(self, text: str, *, stream: bool = False) -> httpx.Response:
        body = {"model": "m", "messages": [{"role": "user", "content": text}], "stream": stream}
        return await self.http.post("/v1/chat/completions", json=body)

    async def events(self) -> dict[str, float]:
        """The coalescing counters of its /metrics."""
        page = (await self.http.get("/metrics")).text
        families = {family.name: family for family in text_string_to_metric_families(page)}
        return {sample.labels["event"]: sample.value for sample in families["tidegate_coalescing"].samples}


@asynccontextmanager
async def processes(count: int, config: dict[str, Any], base: Path) -> AsyncIterator[list[Process]]:
    file = base / "tidegate.yaml"
    file.write_text(yaml.safe_dump(config))
    async with contextlib.AsyncExitStack() as stack:
        made = []
        for _ in range(count):
            port = free_port()
            command = [sys.executable, "-m", "gateway.cli", "serve", "--config", str(file), "--port", str(port)]
            quiet = asyncio.subprocess.DEVNULL
            process = await asyncio.create_subprocess_exec(*command, stderr=quiet, stdout=quiet)
            stack.push_async_callback(process.wait)
            stack.callback(_kill, process)
            client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30)
            made.append(Process(process, await stack.enter_async_context(client)))
        await asyncio.gather(*(one.up() for one in made))
        yield made


def _kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()


@pytest.fixture
async def upstream() -> AsyncIterator[FaultServer]:
    async with FaultServer() as server:
        yield server


async def sums(made: list[Process]) -> dict[str, float]:
    pages = [await one.events() for one in made]
    return {name: sum(page[name] for page in pages) for name in pages[0]}


async def test_a_hundred_make_one_call_and_a_killed_leader_is_succeeded(
    redis_url: str, upstream: FaultServer, tmp_path: Path
) -> None:
    """100 identical requests at three processes make one upstream call. When the process that leads is killed its lease
    runs out, and one of the others asks the model for all that are left."""
    config = {
        "version": 1,
        "server": {"secret": tmp_path.name + "-at-least-16-bytes"},
        "redis": redis_url,
        "providers": {"up": {"type": "openai-compatible", "base_url": upstream.base_url}},
        "models": {"m": {"targets": [{"provider": "up", "model": "m"}], "retry": {"attempts": 1}}},
        "routes": {"default": {"cache": {"exact": {"ttl": "1h"}}}},
        "telemetry": {"log": "off"},
    }
    async with processes(3, config, tmp_path) as made:
        for one in made:  # the connection to Redis is made on first use, and a busy machine may take its time
            upstream.script("m", ["warm"])
            await one.ask("warm")
        calls = len(upstream.requests)
        gate = asyncio.Event()
        upstream.script("m", ["Hel", gate, "lo"])
        tasks = [asyncio.create_task(made[number % 3].ask("hi", stream=number % 2 == 0)) for number in range(100)]
        await upstream.received(calls + 1)
        async with asyncio.timeout(30):
            while (await sums(made))["followed"] < 2:  # noqa: ASYNC110 - each turn is a request
                await asyncio.sleep(0.05)
        gate.set()
        replies = await asyncio.gather(*tasks)
        assert {reply.status_code for reply in replies} == {200}
        assert len(upstream.requests) == calls + 1

        upstream.script("m", ["Hel", HANG])
        first = asyncio.create_task(made[0].ask("ho"))
        await upstream.received(calls + 2)
        rest = [asyncio.create_task(one.ask("ho")) for one in made[1:] for _ in range(5)]
        async with asyncio.timeout(30):
            while (await sums(made))["followed"] < 4:  # noqa: ASYNC110 - each turn is a request
                await asyncio.sleep(0.05)
        upstream.script("m", ["Hello"])
        made[0].process.kill()
        with pytest.raises(httpx.TransportError):
            await first
        told = await asyncio.gather(*rest)
        assert {reply.json()["choices"][0]["message"]["content"] for reply in told} == {"Hello"}
        assert len(upstream.requests) == calls + 3
        assert (await sums(made[1:]))["promoted"] == 1
