"""What a pick by prefix costs, without a server around it: `python -m bench.picking [--quick] [--write]`.

One thread; its CPU time and not wall time. A pick is everything between a request that was read and an endpoint that was
counted: the prompt made of the request, its chain of hashes, the match and the estimate for each endpoint, the choice,
the notes of what will be cached, and the end of the call.
"""

from __future__ import annotations

import argparse
import platform
import random
import sys
import time
import tracemalloc
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from bench.guard_report import says
from bench.report import table
from bench.results import put
from bench.stats import percentile
from gateway.core.clock import ManualClock
from gateway.core.plan import Target
from gateway.core.request import Request
from gateway.dialects import openai_read
from gateway.pools.affinity import ask_of
from gateway.pools.chain import BLOCK, prefix_of
from gateway.pools.endpoints import Endpoints
from gateway.pools.held import Held

SIZES = {4_000: 0.1, 128_000: 1.0, 400_000: None}
"""Characters of a prompt, and milliseconds that a pick may take at the median."""
ENDPOINTS = (2, 8, 32)
TURN = 800
"""Characters of one message."""
TARGET = Target(provider="p", model="m")


class Row(NamedTuple):
    """Milliseconds of CPU."""

    size: int
    endpoints: int
    warm: bool
    prompt: float
    p50: float
    p99: float


def request_of(size: int, rng: random.Random) -> Request:
    """A conversation of so many characters, in messages of usual length, that nobody has seen."""
    count = max(2, size // TURN)
    texts = ["".join(rng.choices("abcdefghij klmnop", k=size // count)) for _ in range(count)]
    messages = [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(texts)]
    return openai_read.read("chat", {"model": "m", "messages": messages})


def timed(work: Callable[[], object], times: int) -> list[float]:
    took = []
    for _ in range(times):
        begin = time.thread_time_ns()
        work()
        took.append((time.thread_time_ns() - begin) / 1e6)
    return took


def measured(size: int, endpoints: int, warm: bool, times: int) -> Row:
    rng = random.Random(size + endpoints)
    pool = Endpoints([f"http://h{n}" for n in range(endpoints)], "prefix", ManualClock(), rng=rng)
    ask = ask_of("prefix")
    for _ in range(3 * endpoints):  # caches that are in use
        pick(pool, ask_of("prefix")(request_of(100_000, rng), TARGET, "", "t", 0))
    requests = [request_of(size, rng) for _ in range(1 if warm else times)]
    took, prompts = [], []
    for at in range(times + 1):
        request = requests[at % len(requests)]
        prompts += timed(lambda request=request: ask(request, TARGET, "", "t", 0), 1)  # type: ignore[misc]
        took += timed(lambda request=request: pick(pool, ask(request, TARGET, "", "t", 0)), 1)  # type: ignore[misc]
    return Row(
        size, endpoints, warm, percentile(sorted(prompts[1:]), 50), *(percentile(sorted(took[1:]), q) for q in (50, 99))
    )


def pick(pool: Endpoints, asked: object) -> None:
    lease = pool.lease(asked)  # type: ignore[arg-type]
    assert lease is not None
    lease.answered()
    lease.end(ok=True)


def bytes_of_a_block() -> float:
    """What remembering one block takes, its hash included."""
    held = Held(50_000)
    tracemalloc.start()
    rng = random.Random(1)
    for _ in range(100):
        blocks = prefix_of(rng.randbytes(500 * BLOCK)).blocks
        held.use(blocks, 0)
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return taken / len(held)


def report(rows: Sequence[Row], per_block: float, quick: bool) -> str:
    stamp = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    command = "python -m bench.picking" + (" --quick" if quick else "") + " --write"
    lines = []
    for row in rows:
        limit = SIZES[row.size]
        verdict = ["–", ""] if limit is None else [f"{limit:g}", says(row.p50 <= limit)]
        known = "cached somewhere" if row.warm else "cold"
        cells = [
            f"{row.size // 1000} KB",
            str(row.endpoints),
            known,
            f"{row.prompt:.3f}",
            f"{row.p50:.3f}",
            f"{row.p99:.3f}",
        ]
        lines.append([*cells, *verdict])
    return "\n\n".join(
        [
            f"`{command}` on {stamp}, {platform.machine()}, Python {platform.python_version()}; CPU milliseconds, one core.",
            table(["prompt", "endpoints", "", "of it, prompt and hashes", "pick p50", "p99", "limit", ""], lines),
            f"A block of 256 bytes that an endpoint is thought to hold takes {per_block:.0f} bytes of memory.",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.picking", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="rough figures")
    parser.add_argument("--write", action="store_true", help="into bench/RESULTS.md")
    options = parser.parse_args(argv)
    times = 30 if options.quick else 300
    rows = [
        measured(size, endpoints, warm, times) for size in SIZES for endpoints in ENDPOINTS for warm in (False, True)
    ]
    text = report(rows, bytes_of_a_block(), options.quick)
    print(text)
    if options.write:
        put("picking", "Picking an endpoint", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
