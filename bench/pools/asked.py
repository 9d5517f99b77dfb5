"""What the fleet is asked: the same prompts at the same times for every router."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

_WORDS = """
    amber basin cedar delta ember fjord grove harbour island jetty kelp lagoon meadow north orchard pier quay river shoal
    tide upland vale willow yonder zephyr anchor beacon current drift estuary
"""
WORDS = _WORDS.split()
Messages = list[dict[str, Any]]


@dataclass(slots=True)
class Ask:
    """One call: `at` seconds after the start, or, with `after`, `at` seconds after that one was answered."""

    at: float
    messages: Messages
    after: Ask | None = None
    session: str = ""
    # what became of it
    first: float = 0.0
    """Seconds until its first token; 0 when it failed."""
    tokens: int = 0
    cached: int = 0
    answer: str = ""
    problem: str = ""


def text(rng: random.Random, chars: int) -> str:
    out = ""
    while len(out) < chars:
        out += rng.choice(WORDS) + " "
    return out[:chars]


def shared(rng: random.Random, calls: int, rate: float) -> list[Ask]:
    """18 applications, each with a system prompt of 1,500 tokens, each asked as often as the others. The fleet's caches
    have room for all of them together, and one replica's for a third."""
    prompts = [text(rng, 1500) for _ in range(18)]
    asks, at = [], 0.0
    for _ in range(calls):
        at += rng.expovariate(rate)
        asks.append(Ask(at, _said(rng.choice(prompts), text(rng, rng.randint(20, 120)))))
    return asks


def talks(rng: random.Random, calls: int, rate: float) -> list[Ask]:
    """Conversations of six turns over one of four system prompts; each turn holds all before it, a second later."""
    prompts = [text(rng, 600) for _ in range(4)]
    asks: list[Ask] = []
    at = 0.0
    for number in range(calls // 6):
        at += rng.expovariate(rate / 6)
        messages = _said(rng.choice(prompts), text(rng, 250))
        last: Ask | None = None
        for _ in range(6):
            last = Ask(at if last is None else rng.expovariate(1.0), list(messages), last, session=f"talk-{number}")
            asks.append(last)
            messages += [{"role": "assistant", "content": "..."}, {"role": "user", "content": text(rng, 250)}]
    return asks


def _said(system: str, user: str) -> Messages:
    return [{"role": "system", "content": system}, {"role": "user", "content": user}]


@dataclass(frozen=True)
class Load:
    """A workload: what makes it, how many calls, how many a second."""

    make: Callable[[random.Random, int, float], list[Ask]]
    calls: int
    rate: float
    seed: int = 20261201

    def asks(self, turn: int = 0) -> list[Ask]:
        """Others for every turn, the same for every router."""
        return self.make(random.Random(self.seed + turn), self.calls, self.rate)


LOADS: Mapping[str, Load] = {"shared system prompts": Load(shared, 180, 5.0), "conversations": Load(talks, 120, 5.0)}
