"""Streams as a client sees them: when each token came, and what a run of many of them came to."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx

from bench.pools.asked import text
from bench.stats import percentile

SLO_FIRST, SLO_TOKEN = 1.0, 0.05
"""Seconds: an answer is good that begins within the first, and goes on with the second at most between two tokens, in the
mean."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """Where calls go: to the engines themselves in turn, or to the gateway."""

    name: str
    urls: Sequence[str]
    model: str


@dataclass(slots=True)
class Call:
    """Seconds since it was sent."""

    times: list[float] = field(default_factory=list)
    problem: str = ""

    @property
    def first(self) -> float:
        return self.times[0]

    @property
    def token(self) -> float:
        """Between two pieces, in the mean."""
        return (self.times[-1] - self.times[0]) / max(1, len(self.times) - 1)

    @property
    def good(self) -> bool:
        return not self.problem and self.first <= SLO_FIRST and self.token <= SLO_TOKEN


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Of one run. Seconds."""

    calls: int
    failed: int
    first: tuple[float, float, float]
    token: tuple[float, float, float]
    """p50, p90 and p99 of the time to the first token, and of that between two tokens."""
    rate: float
    """Tokens a second, of all calls together."""
    goodput: float
    """Share of the calls that were good."""


def figures(calls: Sequence[Call], seconds: float) -> Figures:
    """Raises ValueError when no call was answered."""
    whole = [call for call in calls if not call.problem]

    def of(values: Sequence[float]) -> tuple[float, float, float]:
        return percentile(values, 50), percentile(values, 90), percentile(values, 99)

    return Figures(
        calls=len(calls),
        failed=len(calls) - len(whole),
        first=of([call.first for call in whole]),
        token=of([call.token for call in whole]),
        rate=sum(len(call.times) for call in whole) / seconds,
        goodput=sum(call.good for call in whole) / len(calls),
    )


def body(model: str, prompt: str, tokens: int) -> dict[str, object]:
    messages = [{"role": "user", "content": prompt}]
    return {"model": model, "messages": messages, "stream": True, "max_tokens": tokens, "temperature": 0}


async def ask(client: httpx.AsyncClient, url: str, asked: dict[str, object], leave_after: int = 0) -> Call:
    """`leave_after`: pieces after which the client goes, without a word; 0: it stays to the end."""
    call, sent = Call(), time.perf_counter()
    try:
        async with client.stream("POST", f"{url}/chat/completions", json=asked) as reply:
            if reply.status_code != 200:
                call.problem = f"status {reply.status_code}"
            async for line in reply.aiter_lines():
                if line.startswith("data: {") and _says(line):
                    call.times.append(time.perf_counter() - sent)
                    if leave_after and len(call.times) >= leave_after:
                        break
    except httpx.HTTPError as error:
        call.problem = type(error).__name__
    if not call.times:
        call.problem = call.problem or "no text"
    return call


def _says(line: str) -> bool:
    choices = json.loads(line[6:]).get("choices") or [{}]
    return bool((choices[0].get("delta") or {}).get("content"))


def new_client() -> httpx.AsyncClient:
    return httpx.AsyncClient(timeout=120.0, limits=httpx.Limits(max_connections=500), trust_env=False)


async def one_by_one(way: Way, calls: int, chars: int, tokens: int, seed: int) -> list[Call]:
    """Each sent when the last has ended: nothing waits for anything but the engine and what is before it. No two ways ask
    the same, for engines keep what they have read."""
    rng = random.Random(f"{seed} {way.name}")
    async with new_client() as client:
        return [
            await ask(client, way.urls[at % len(way.urls)], body(way.model, text(rng, chars), tokens))
            for at in range(calls)
        ]


async def at_a_rate(way: Way, calls: int, rate: float, chars: int, tokens: int, seed: int) -> tuple[list[Call], float]:
    """Sent when their time has come, whatever became of those before: at the same times for all ways, with other prompts.
    Half of the prompts begin with one of eight texts. The calls, and how long all of it took."""
    times, rng = random.Random(seed), random.Random(f"{seed} {way.name}")
    known = [text(rng, chars) for _ in range(8)]
    at, plan = 0.0, []
    for number in range(calls):
        at += times.expovariate(rate)
        prompt = (rng.choice(known) if number % 2 else text(rng, chars)) + " " + text(rng, 80)
        plan.append((at, way.urls[number % len(way.urls)], body(way.model, prompt, tokens)))
    begun = time.perf_counter()

    async with new_client() as client:

        async def one(when: float, url: str, asked: dict[str, object]) -> Call:
            await asyncio.sleep(max(0.0, begun + when - time.perf_counter()))
            return await ask(client, url, asked)

        made = await asyncio.gather(*(one(*planned) for planned in plan))
    return list(made), time.perf_counter() - begun
