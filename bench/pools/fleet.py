"""Three real llama.cpp servers behind one router after the other: how long answers take to begin, and out of what.

The servers are started anew for each run, so every router begins with cold caches. Each has two slots and room for few
prompts beside them, so that one replica cannot keep what all are asked: else every rule finds everything everywhere.
Time is measured at the client, from the request's last byte to the first piece of text; tokens out of a cache are what
the server itself says in the stream's usage.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from bench.peers import Unavailable, python_package
from bench.place import ROOT
from bench.pools.asked import Ask
from bench.process import Process, cores, free_port
from bench.tidegate import command
from gateway.demo.files import model_file
from gateway.demo.gguf import build_tiny
from gateway.demo.llamacpp import LlamaServer

REPLICAS = 3
TURNS = 3
"""Each router gets each workload so often, in turn with the others, with other prompts each time: which prompt meets which
other in one cache is chance, and one turn differs from the next by a third."""
SLOTS = 2
ROOM_MIB = 5
"""Of the prompts kept beside the slots."""
WIDTH, LAYERS = 128, 4
ANSWER = 8
"""Tokens."""
SMG = "1.13"


@dataclass(frozen=True, kw_only=True)
class Router:
    """`policy` is a balance of ours, or a policy of smg's."""

    name: str
    policy: str
    ours: bool = True


ROUTERS: Sequence[Router] = (
    Router(name="Tidegate, round_robin", policy="round_robin"),
    Router(name="Tidegate, prefix", policy="prefix"),
    Router(name="smg, round_robin", policy="round_robin", ours=False),
    Router(name="smg, cache_aware", policy="cache_aware", ours=False),
)


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one router made of one workload, all turns together. Seconds, and the share of prompt tokens that came out of a
    cache."""

    mean: float
    p50: float
    p99: float
    cached: float
    failed: int


def run_of(asks: Sequence[Ask]) -> Run:
    good = sorted(ask.first for ask in asks if not ask.problem)
    if not good:
        raise Unavailable(f"no call was answered: {asks[0].problem}")
    tokens = sum(ask.tokens for ask in asks)
    return Run(
        mean=sum(good) / len(good),
        p50=good[len(good) // 2],
        p99=good[min(len(good) - 1, int(len(good) * 0.99))],
        cached=sum(ask.cached for ask in asks) / max(1, tokens),
        failed=len(asks) - len(good),
    )


async def measure(router: Router, asks: Sequence[Ask], work: Path, state: Path) -> None:
    """One router, one workload, three new servers. What became of each call is noted in it."""
    path, _ = model_file(
        "bench-pool", lambda out: build_tiny(out, width=WIDTH, layers=LAYERS), salt=f"{WIDTH}x{LAYERS}"
    )
    async with AsyncExitStack() as stack:
        servers = [
            await stack.enter_async_context(
                LlamaServer(path, alias="pool", parallel=SLOTS, ctx=8192 * SLOTS, cache_mib=ROOM_MIB)
            )
            for _ in range(REPLICAS)
        ]
        url = await stack.enter_async_context(_routed(router, [server.url for server in servers], work, state))
        await _ask_all(url, asks)


@asynccontextmanager
async def _routed(router: Router, urls: Sequence[str], work: Path, state: Path) -> AsyncIterator[str]:
    port = free_port()
    argv = _tidegate(router, urls, port, work) if router.ours else _smg(router, urls, port, state)
    log = work / f"{router.name.replace(', ', '-')}.log"
    with Process(argv, core=cores()[0], log=log, env={"PYTHONPATH": str(ROOT)}) as process:
        await asyncio.to_thread(process.wait_ready, f"http://127.0.0.1:{port}/{'readyz' if router.ours else 'health'}")
        yield f"http://127.0.0.1:{port}/v1/chat/completions"


def _tidegate(router: Router, urls: Sequence[str], port: int, work: Path) -> list[str]:
    provider = {"type": "llama-cpp", "endpoints": [f"{url}/v1" for url in urls], "balance": router.policy}
    models = {"pool": {"targets": [{"provider": "gpu", "model": "pool"}]}}
    path = work / f"{router.policy}.yaml"
    path.write_text(
        json.dumps({"version": 1, "providers": {"gpu": provider}, "models": models, "routes": {"default": {}}})
    )
    return [*command(), "serve", "--config", str(path), "--host", "127.0.0.1", "--port", str(port)]


def _smg(router: Router, urls: Sequence[str], port: int, state: Path) -> list[str]:
    """As its own documentation starts it; its defaults are kept."""
    argv = [str(smg_home(state) / "bin" / "smg"), "launch", "--host", "127.0.0.1", "--port", str(port)]
    return [
        *argv,
        "--policy",
        router.policy,
        "--worker-urls",
        *urls,
        "--log-level",
        "warn",
        "--prometheus-port",
        str(free_port()),
    ]


def smg_home(state: Path) -> Path:
    return state / "smg"


def install_smg(state: Path) -> str:
    """Into a place of its own; its version."""
    state.mkdir(exist_ok=True)
    return python_package(state, "smg", "", SMG, bare=("setproctitle",))


# --- the client


async def _ask_all(url: str, asks: Sequence[Ask]) -> None:
    async with httpx.AsyncClient(timeout=60.0, limits=httpx.Limits(max_connections=200), trust_env=False) as client:
        begun = time.perf_counter()
        done: dict[int, asyncio.Event] = {id(ask): asyncio.Event() for ask in asks}

        async def one(ask: Ask) -> None:
            try:
                if ask.after is not None:
                    await done[id(ask.after)].wait()
                    await asyncio.sleep(ask.at)
                    _remember(ask)
                else:
                    await asyncio.sleep(max(0.0, begun + ask.at - time.perf_counter()))
                await _ask(client, url, ask)
            except httpx.HTTPError as error:
                ask.problem = type(error).__name__
            finally:
                done[id(ask)].set()

        await asyncio.gather(*map(one, asks))


def _remember(ask: Ask) -> None:
    """What was answered before stands where it was said."""
    answers: list[str] = []
    before = ask.after
    while before is not None:
        answers.insert(0, before.answer)
        before = before.after
    said = iter(answers)
    for message in ask.messages:
        if message["role"] == "assistant":
            message["content"] = next(said)


async def _ask(client: httpx.AsyncClient, url: str, ask: Ask) -> None:
    body = {
        "model": "pool", "messages": ask.messages, "stream": True, "max_tokens": ANSWER, "temperature": 0,
        "stream_options": {"include_usage": True},
    }  # fmt: skip
    sent = time.perf_counter()
    headers = {"x-tidegate-session": ask.session} if ask.session else {}
    async with client.stream("POST", url, json=body, headers=headers) as reply:
        if reply.status_code != 200:
            ask.problem = f"status {reply.status_code}"
            return
        async for line in reply.aiter_lines():
            if line.startswith("data: {"):
                _note(ask, json.loads(line[6:]), sent)
    if not ask.first:
        ask.problem = "no text"


def _note(ask: Ask, chunk: dict[str, Any], sent: float) -> None:
    for choice in chunk.get("choices", []):
        piece = choice["delta"].get("content")
        if piece:
            ask.first = ask.first or time.perf_counter() - sent
            ask.answer += piece
    usage = chunk.get("usage")
    if usage:
        ask.tokens = usage["prompt_tokens"]
        ask.cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
