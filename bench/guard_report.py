"""The figures of `bench.guards`, as a part of RESULTS.md."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

MEMORY_LIMIT = 150


class Figures(NamedTuple):
    """`cost`, `hostile` and `streams` are rows of their tables; `trips` is (round trips, wrong ones); `added` megabytes,
    of patterns and of all default tiers."""

    cost: Sequence[Sequence[str]]
    hostile: Sequence[Sequence[str]]
    streams: Sequence[Sequence[str]]
    trips: tuple[int, int]
    added: tuple[float, float]


def says(good: bool) -> str:
    return "pass" if good else "**FAIL**"


def report(figures: Figures, quick: bool) -> str:
    stamp = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    command = "python -m bench.guards" + (" --quick" if quick else "") + " --write"
    trips, wrong = figures.trips
    patterns, everything = figures.added
    return "\n".join(
        [
            f"`{command}` on {stamp}, {platform.machine()}, Python {platform.python_version()}; CPU milliseconds, one core.",
            "",
            *_table(["checks", "tokens", "text", "p50", "p99", "limit", ""], figures.cost),
            "",
            "Texts of 64 KB meant to be slow, pattern checks, the eight worst; `growth` is what twice the text takes:",
            "",
            *_table(["text", "ms", "growth", "limit 50 ms"], figures.hostile),
            "",
            "Streamed answers of 200 chunks of five words through every output check of the default route, CPU by chunk:",
            "",
            *_table(["text", "ms a stream", "p50 µs", "p99 µs", "limit 200 µs"], figures.streams),
            "",
            "Masked, streamed in random pieces (every tenth time one character at a time) and restored: "
            f"{trips - wrong:,} of {trips:,} came back identical.",
            "",
            f"Memory over the loaded gateway: patterns {patterns:.0f} MB, all default tiers with the encoder "
            f"{everything:.0f} MB (limit {MEMORY_LIMIT}): {says(max(figures.added) <= MEMORY_LIMIT)}.",
        ]
    )


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [heads, ["---"] * len(heads), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]
