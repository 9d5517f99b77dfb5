"""The figures of `bench.gpu`, as a part of RESULTS.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.gpu.calls import SLO_FIRST, SLO_TOKEN, Figures
from bench.gpu.leaving import LONG, READ, Left
from bench.report import table


@dataclass(frozen=True, kw_only=True)
class Measured:
    """By way; the first is the direct one."""

    alone: Mapping[str, Figures]
    micros_per_token: float
    """CPU of the gateway."""
    left: Mapping[str, Left]
    loaded: Mapping[float, Mapping[str, Figures]]
    """By calls a second."""


def text(head: str, found: Measured) -> str:
    direct, ours = list(found.alone.values())[:2]
    added = [
        ["a request: time to the first token", f"{1000 * (ours.first[0] - direct.first[0]):.2f} ms"],
        ["a token: time between two", f"{1000 * (ours.token[0] - direct.token[0]):.3f} ms"],
        ["a token: CPU of the gateway, its request's included", f"{found.micros_per_token:.0f} µs"],
    ]
    parts = [
        head,
        "What the gateway adds, calls sent one by one (medians):",
        table(["to", "added"], added),
        _runs({"one by one": found.alone}),
        f"A client leaves after {READ} of {LONG} tokens:",
        table(
            ["way", "the answer, read to its end", "engines busy after the client left"],
            [[name, f"{left.whole:.2f} s", f"{left.busy:.2f} s"] for name, left in found.left.items()],
        ),
        f"At a steady rate; an answer is good that begins within {SLO_FIRST:g} s and then takes {1000 * SLO_TOKEN:g} ms a "
        "token at most:",
        _runs({f"{rate:g}/s": runs for rate, runs in found.loaded.items()}),
    ]
    return "\n\n".join(parts)


def _runs(runs: Mapping[str, Mapping[str, Figures]]) -> str:
    rows = []
    for name, by_way in runs.items():
        for way, f in by_way.items():
            times = [f"{1000 * value:.1f}" for value in (*f.first, *f.token)]
            rows.append([name, way, *times, f"{f.rate:.0f}", f"{f.goodput:.0%}", f"{f.failed} of {f.calls}"])
            name = ""
    head = ["", "way", "first ms p50", "p90", "p99", "token ms p50", "p90", "p99", "tokens/s", "good", "failed"]
    return table(head, rows)
