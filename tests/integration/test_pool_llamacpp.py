"""Three real llama.cpp servers behind `balance: prefix`: what begins alike is read once, and a server may die."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.core.receipt import Attempt
from gateway.demo.gguf import build_copy
from gateway.demo.llamacpp import LlamaServer
from tests.fixtures.fleet import Background, Serve, Served

REPLICAS = 3


@pytest.fixture
def replicas(background: Background, tmp_path: Path) -> Iterator[list[LlamaServer]]:
    path = tmp_path / "copy.gguf"
    build_copy(path)
    servers = [LlamaServer(path, alias="demo", parallel=2, ctx=16384) for _ in range(REPLICAS)]
    for server in servers:
        background.run(server.start())
    yield servers
    for server in servers:
        background.run(server.stop())


def gateway(serve: Serve, replicas: list[LlamaServer], balance: str = "prefix") -> Served:
    endpoints = [server.base_url for server in replicas]
    return serve(
        {
            "providers": {"gpu": {"type": "llama-cpp", "endpoints": endpoints, "balance": balance}},
            "models": {"m": {"targets": [{"provider": "gpu", "model": "demo"}]}},
        }
    )


def asks(system: str, question: str, **fields: Any) -> dict[str, Any]:
    said = [{"role": "system", "content": system}, {"role": "user", "content": question}]
    return {"model": "m", "messages": said, "max_tokens": 4, **fields}


async def talk(served: Served, bodies: list[dict[str, Any]], at_once: int = 1) -> list[int]:
    """The statuses that they got, in order."""
    gate = asyncio.Semaphore(at_once)

    async def one(client: httpx.AsyncClient, body: dict[str, Any]) -> int:
        async with gate:
            return (await client.post("/v1/chat/completions", json=body)).status_code

    async with httpx.AsyncClient(base_url=served.url, timeout=60) as client:
        return await asyncio.gather(*(one(client, body) for body in bodies))


def attempts(served: Served, background: Background, count: int) -> list[tuple[Attempt, ...]]:
    """Those of the next `count` exchanges."""
    return [background.run(served.ledger.next()).attempts for _ in range(count)]


def system(number: int) -> str:
    return f"You are assistant {number} of the harbour office. " + f"Rule {number}: be brief about tide and ship. " * 18


def test_what_begins_alike_is_read_once(serve: Serve, replicas: list[LlamaServer], background: Background) -> None:
    """A burst of new prompts is spread over all servers. Later questions over one of them go where it is, one after the
    other: the receipt says what was expected, and the engine that it came true."""
    served = gateway(serve, replicas)
    first = [asks(system(number), "question?") for number in range(6)]
    assert set(background.run(talk(served, first, at_once=6))) == {200}
    assert {tried[0].endpoint for tried in attempts(served, background, 6)} == {
        server.url.removeprefix("http://") for server in replicas
    }
    homes: dict[int, set[str]] = defaultdict(set)
    later = [asks(system(number), f"question {turn}?") for turn in range(3) for number in range(6)]
    assert set(background.run(talk(served, later))) == {200}
    for at, (attempt,) in enumerate(attempts(served, background, len(later))):
        homes[at % 6].add(attempt.endpoint)
        assert attempt.usage is not None
        assert attempt.usage.cached_tokens > 0.8 * attempt.usage.input_tokens
        expected = re.match(r"prefix (\d+)/(\d+) tok", attempt.picked)
        assert expected is not None
        assert int(expected[1]) > 0.6 * int(expected[2])  # whole blocks of 256 bytes
    assert all(len(home) == 1 for home in homes.values()), homes


def test_a_dead_server_costs_no_answer(serve: Serve, replicas: list[LlamaServer], background: Background) -> None:
    """Killed with calls under way: whoever has got nothing yet is answered by another server, and so is whoever comes
    later, also for the prompts that only the dead one had cached. At the end nothing is counted as under way."""
    served = gateway(serve, replicas)
    bodies = [asks(system(number), "question?") for number in range(6)]
    assert set(background.run(talk(served, bodies))) == {200}
    before = [tried[0].endpoint for tried in attempts(served, background, len(bodies))]
    dead = next(server for server in replicas if server.url.endswith(before[0]))

    async def killed_under_way() -> list[int]:
        long = [asks(system(number), "question? " * 20, max_tokens=8) for number in range(6)]
        calls = asyncio.create_task(talk(served, long, at_once=6))
        async with asyncio.timeout(20):
            while not await dead.busy():  # noqa: ASYNC110 - another process, there is no event for it
                await asyncio.sleep(0)
        assert dead.pid is not None
        os.kill(dead.pid, signal.SIGKILL)
        return await calls + await talk(served, bodies)

    assert set(background.run(killed_under_way())) == {200}
    later = [tried[-1] for tried in attempts(served, background, 12)]
    assert {attempt.outcome for attempt in later} == {"ok"}
    assert all(not dead.url.endswith(attempt.endpoint) for attempt in later)
    pool = served.gateway.upstreams["gpu"].endpoints
    assert [(one.in_flight, one.unanswered, one.unread) for one in pool.all] == [(0, 0, 0.0)] * REPLICAS
