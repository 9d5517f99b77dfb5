"""SIGTERM to a real gateway process: no new work, the open answers run to their end, and what cannot end is told."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from gateway.faults.server import FaultServer
from gateway.faults.steps import HANG
from tests.fixtures.gateway import parse
from tests.fixtures.keeper import Keeper
from tests.fixtures.raw_client import RawClient, asking, post
from tests.fixtures.redis import free_port

START, END = 30.0, 20.0
"""Seconds within which the process must be up, and gone. Generous: machines are slow, and only a hang may fail here."""


class Served:
    """A `tidegate serve` process. `log` is what it said on its standard error."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process = process
        self.url = f"http://127.0.0.1:{port}"
        self.log: list[str] = []
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.log.append(line.decode())

    async def up(self) -> None:
        async with asyncio.timeout(START):
            while await self.readiness() != 200:
                assert self.process.returncode is None, self.log
                await asyncio.sleep(0.05)

    async def readiness(self) -> int | None:
        """The status of /readyz on a new connection; None when there is nobody to ask."""
        try:
            async with RawClient(self.url) as client, asyncio.timeout(1):
                await client.send(b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
                return (await client.head())[0]
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            return None

    def stop(self, sig: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(sig)

    async def status(self) -> int:
        """Waits for the end of the process; its exit status."""
        async with asyncio.timeout(END):
            status = await self.process.wait()
            await self._reading
        return status

    def receipts(self) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.log if line.startswith("{")]
        return [line for line in lines if line.get("event") == "exchange"]


@asynccontextmanager
async def serving(
    base: Path, upstream: FaultServer | Keeper, *options: str, sections: dict[str, Any] | None = None, **server: Any
) -> AsyncIterator[Served]:
    """`sections`: of the configuration, beside what is always there."""
    config = {
        "version": 1,
        "server": server,
        "providers": {"up": {"type": "openai-compatible", "base_url": upstream.base_url}},
        "models": {"m": {"targets": [{"provider": "up", "model": "m"}]}},
        **(sections or {}),
    }
    path = base / "tidegate.yaml"
    path.write_text(yaml.safe_dump(config))
    port = free_port()
    command = [sys.executable, "-m", "gateway.cli", "serve", "--config", str(path), "--port", str(port), *options]
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE, start_new_session=True)
    served = Served(process, port)
    try:
        await served.up()
        yield served
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        await served._reading


async def refuses(served: Served) -> None:
    """Waits until nothing new is taken: not ready, or nobody listens."""
    async with asyncio.timeout(END):
        while await served.readiness() == 200:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert await served.readiness() in (503, None)


@pytest.mark.parametrize("workers", [1, 2])
async def test_an_open_stream_ends_whole(tmp_path: Path, workers: int) -> None:
    """New work is refused, by a closed socket and not by silence; the streams that are open get all of their answer;
    the exit status is 0."""
    gate = asyncio.Event()
    async with FaultServer() as upstream, serving(tmp_path, upstream, "--workers", str(workers)) as served:
        upstream.script("m", ["Hello", gate, " and", " goodbye"])
        clients = [RawClient(served.url) for _ in range(4)]
        idle = RawClient(served.url)
        for client in (*clients, idle):
            await client.__aenter__()
        for client in clients:
            await client.send(post(asking(stream=True)))
            await client.until(b"Hello")
        await idle.send(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")
        assert (await idle.answer()).status == 200
        served.stop()
        await refuses(served)
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(_connects(served), END)
        assert await idle.rest() == b""
        assert served.process.returncode is None
        gate.set()
        for client in clients:
            rest = await client.rest()
            assert b" goodbye" in rest
            assert rest.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
        assert await served.status() == 0
        assert [(line["outcome"], line["status"]) for line in served.receipts()] == [("ok", 200)] * 4
        assert not [line for line in served.log if "Traceback" in line]


async def _connects(served: Served) -> None:
    """Connects until that is refused."""
    while True:
        async with RawClient(served.url):
            await asyncio.sleep(0.05)


async def test_a_notice_comes_before_the_door_closes(tmp_path: Path) -> None:
    """With `drain_notice`, /readyz says 503 first, while what still comes in is served."""
    async with FaultServer() as upstream, serving(tmp_path, upstream, drain_notice="1500ms") as served:
        upstream.script("m", ["still here"])
        served.stop()
        async with asyncio.timeout(END):
            while await served.readiness() != 503:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        async with httpx.AsyncClient(base_url=served.url) as http:
            answer = await http.post("/v1/chat/completions", content=asking())
        assert parse(answer.status_code, answer.headers, answer.content).text == "still here"
        assert await served.status() == 0


async def test_what_outlives_the_drain_is_told(tmp_path: Path) -> None:
    """After `server.drain` a call without an answer gets a 503, an open stream an error and no end mark, the upstream
    sees both leave, and each has its line in the log."""
    async with FaultServer() as upstream, serving(tmp_path, upstream, drain="700ms") as served:
        upstream.script("m", ["Hello", HANG])
        async with RawClient(served.url) as stream, RawClient(served.url) as whole:
            await stream.send(post(asking(stream=True)))
            await stream.until(b"Hello")
            await whole.send(post(asking()))
            await upstream.received(2)
            served.stop()
            answer = await whole.answer()
            assert (answer.status, answer.json["error"]["code"]) == (503, "service_unavailable")
            assert answer.closed
            rest = await stream.rest()
            assert b'"service_unavailable"' in rest
            assert b"[DONE]" not in rest
        assert await served.status() == 0
        assert [await request.ended() for request in upstream.requests] == ["left", "left"]
        assert sorted((line["outcome"], line["status"]) for line in served.receipts()) == [
            ("gateway_error", 200),
            ("gateway_error", 503),
        ]
        assert not [line for line in served.log if "Traceback" in line]


async def test_control_c_drains_too(tmp_path: Path) -> None:
    """A terminal sends SIGINT to the whole group; workers and their supervisor take it as one request to drain."""
    gate = asyncio.Event()
    async with FaultServer() as upstream, serving(tmp_path, upstream, "--workers", "2") as served:
        upstream.script("m", ["Hello", gate, " and", " goodbye"])
        async with RawClient(served.url) as client:
            await client.send(post(asking(stream=True)))
            await client.until(b"Hello")
            os.killpg(served.process.pid, signal.SIGINT)
            await refuses(served)
            gate.set()
            assert (await client.rest()).endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
        assert await served.status() == 0


async def test_workers_know_each_others_ids(tmp_path: Path) -> None:
    """Without a secret in the configuration, all workers of one start have the same: what one handed out each can open."""
    keeper = Keeper()
    options = ("--workers", "2")
    async with keeper.server, serving(tmp_path, keeper, *options, sections={"relay": {"files": "up"}}) as served:
        made = (await asyncio.to_thread(httpx.post, f"{served.url}/v1/files", files={"file": ("f", b"{}")})).json()
        for _ in range(20):
            reply = await asyncio.to_thread(httpx.get, f"{served.url}/v1/files/{made['id']}/content")
            assert reply.content == b"{}"
