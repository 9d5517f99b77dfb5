"""What the checks cost, without a server around them: `python -m bench.guards [--quick] [--write]`.

One thread, on the calling core. CPU time (of the thread, and of the process where models compute) and not wall time:
other processes cannot make a figure better or much worse."""

from __future__ import annotations

import argparse
import asyncio
import math
import random
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bench.guard_report import Figures, report, says
from bench.guard_texts import hostile, prose
from bench.place import ROOT
from bench.results import put
from bench.stats import percentile

SIZES = (100, 1_000, 8_000)
LIMITS = {"patterns": (1, 3, 20), "all default tiers": (15, 80, 150)}
"""Milliseconds at the 99th percentile, for each of `SIZES`."""
HOSTILE = 65_536
HOSTILE_LIMIT = 50.0
CHUNK_LIMIT = 0.2

CHECKS: Mapping[str, Mapping[str, Any]] = {
    "private": {"use": "pii", "on": ["input", "output"], "action": "mask", "on_error": "closed", "deadline": 5.0,
                "entities": ["PERSON", "EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD", "IBAN_CODE", "US_SSN", "IP_ADDRESS"]},
    "secrets": {"use": "secrets", "on": ["input", "output"], "action": "mask", "on_error": "closed", "deadline": 5.0},
    "phrases": {"use": "phrases", "on": ["input", "output"], "deny": ["project bluebird"], "action": "block",
                "on_error": "closed", "deadline": 5.0},
    "attacks": {"use": "injection", "on": ["input", "retrieved"], "action": "block", "on_error": "open", "deadline": 5.0},
    "prompt-leak": {"use": "prompt_leak", "on": ["output"], "action": "block", "on_error": "closed", "deadline": 5.0},
    "toxicity": {"use": "toxicity", "on": ["output"], "action": "block", "on_error": "open", "deadline": 5.0},
}  # fmt: skip
"""The contract's default route, without limits on time. (`json_schema` looks only where JSON was asked for.)"""
PATTERNS = ("private", "secrets", "phrases")

Look = Callable[[str], object]


def looks(names: Sequence[str]) -> Look:
    """All input checks called `names` over one text, one after the other."""
    from guardrails.build import build
    from guardrails.config import GuardrailConfig

    guards = build({name: GuardrailConfig(**CHECKS[name]) for name in names}, list(names), _tools())
    stages = [stage for stage in (guards.mask, guards.inspect) if stage is not None]
    inspectors = [look.check.inspector for stage in stages for look in stage.looks if look.check.inspector is not None]

    def look(text: str) -> None:
        for inspector in inspectors:
            inspector.inspect([text], math.inf)

    return look


def _tools() -> Any:
    import msgspec

    from gateway.embedding.files import models_dir
    from gateway.embedding.minilm import MiniLM
    from guardrails.build import tools_alone

    model = MiniLM(models_dir())
    return msgspec.structs.replace(tools_alone(), encode=model.encode, encoder_id=model.id)


def timed(look: Look, text: str, times: int) -> list[float]:
    """CPU milliseconds of each run, ascending. The first few warm up and do not count."""
    for _ in range(3):
        look(text)
    taken = []
    for _ in range(times):
        begin = time.process_time()
        look(text)
        taken.append((time.process_time() - begin) * 1000)
    return sorted(taken)


def tiers(times: int) -> list[list[str]]:
    rows = []
    for name, chosen in (("patterns", PATTERNS), ("all default tiers", (*PATTERNS, "attacks"))):
        look = looks(chosen)
        for size, limit in zip(SIZES, LIMITS[name], strict=True):
            for dense in (False, True):
                took = timed(look, prose(size, dense=dense), max(20, times // (1 if size <= 1000 else 5)))
                p50, p99 = percentile(took, 50), percentile(took, 99)
                kind = "private data every ten words" if dense else "ordinary"
                rows.append([name, f"{size:,}", kind, f"{p50:.2f}", f"{p99:.2f}", f"{limit}", says(p99 <= limit)])
    return rows


def hostile_rows() -> list[list[str]]:
    """The worst texts of 64 KB, and that half of one takes about half as long: the pattern tier is linear."""
    look = looks(PATTERNS)
    found = []
    for name, text in hostile(HOSTILE).items():
        whole = timed(look, text, 5)[0]
        half = timed(look, text[: HOSTILE // 2], 5)[0]
        found.append((whole, half, name))
    return [
        [name, f"{whole:.1f}", f"{whole / max(half, 0.05):.2f}", says(whole <= HOSTILE_LIMIT)]
        for whole, half, name in sorted(found, reverse=True)[:8]
    ]


def chunk_row(streams: int, dense: bool) -> list[str]:
    """Answers of 200 chunks of about five words through every output session of the default route."""
    from gateway.core.events import ChoiceFinished, Finished, Frame, Started, Text
    from gateway.pipeline.stream import Stream
    from guardrails.build import build
    from guardrails.config import GuardrailConfig
    from tests.fixtures.guard_world import exchange_of

    config = {name: GuardrailConfig(**check) for name, check in CHECKS.items()}
    guards = build(config, list(config), _tools())
    text = prose(1_000, dense=dense)
    chunks = [text[at : at + 22] for at in range(0, 4_400, 22)]
    events = [Started("r", "m", 1), *map(Text, chunks), ChoiceFinished("stop"), Finished()]

    async def one() -> list[float]:
        exchange = exchange_of(("system", "You help people with their library cards, politely."), ("user", "hello"))
        opened = (transform.open(exchange) for transform in guards.checks)
        stream = Stream([session for session in opened if session is not None])
        took = []
        for event in events:
            begin = time.process_time()
            await stream.push(Frame((event,)))
            took.append((time.process_time() - begin) * 1000)
        return took

    async def many() -> list[list[float]]:
        return [await one() for _ in range(streams)]

    all_streams = asyncio.run(many())
    whole = percentile([sum(took) for took in all_streams], 50)
    each = [one for took in all_streams[1:] for one in took]
    p50, p99 = percentile(each, 50), percentile(each, 99)
    kind = "private data every ten words" if dense else "ordinary"
    return [kind, f"{whole:.1f}", f"{p50 * 1000:.0f}", f"{p99 * 1000:.0f}", says(p99 <= CHUNK_LIMIT)]


def identity(chunkings: int) -> tuple[int, int]:
    """(chunkings, those after which mask, stream, unmask gave something else than the text). Every tenth is one character
    at a time."""
    from guardrails.asked.screen import Finding
    from guardrails.finding.spans import rewrite
    from guardrails.hiding.restore import Placeholders, Restorer
    from guardrails.hiding.vault import Vault
    from guardrails.private.pii import scanner

    finder = scanner()
    rng = random.Random(7)
    wrong = 0
    text = prose(60, dense=True)
    assert Finding(finder.find(text)).hit
    for turn in range(chunkings):
        begin = rng.randrange(len(text) // 2)
        piece = text[begin : begin + rng.randrange(20, 160)]
        vault = Vault()
        masked = rewrite(piece, finder.find(piece), vault.issue)
        restorer = Restorer(Placeholders(vault.values))
        out = []
        at = 0
        while at < len(masked):
            step = 1 if turn % 10 == 0 else rng.randrange(1, 12)
            out.append(restorer.push(masked[at : at + step]))
            at += step
        out.append(restorer.finish())
        wrong += "".join(out) != piece
    return chunkings, wrong


_RESIDENT = """
import resource, sys
def rss():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 1e6
import gateway.app, guardrails.build
before = rss()
from bench.guards import looks
look = looks(%r)
look("warm up " * 40)
print(round(rss() - before, 1))
"""


def memory(names: Sequence[str]) -> float:
    """Megabytes that the checks add to a process that has the gateway loaded."""
    done = subprocess.run(
        [sys.executable, "-c", _RESIDENT % (tuple(names),)], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return float(done.stdout.split()[-1])


def say(what: str) -> None:
    print(f"guards: {what} ...", file=sys.stderr, flush=True)


def measured(quick: bool) -> Figures:
    times = 40 if quick else 400
    say(f"cost of each size, {times} runs each")
    cost = tiers(times)
    say("hostile texts")
    bad = hostile_rows()
    say("streams")
    streams = [chunk_row(20 if quick else 200, dense) for dense in (False, True)]
    say("round trips")
    trips = identity(5_000 if quick else 100_000)
    say("memory")
    added = memory(PATTERNS), memory((*PATTERNS, "attacks"))
    return Figures(cost, bad, streams, trips, added)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.guards", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="rough figures")
    parser.add_argument("--write", action="store_true", help="into bench/RESULTS.md")
    options = parser.parse_args(argv)
    text = report(measured(options.quick), options.quick)
    print(text)
    if options.write:
        put("guards", "Checks", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
