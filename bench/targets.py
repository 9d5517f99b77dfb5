"""The stated targets, and what a run says about each. A target that was not measured is never counted as met."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench.measure import PLAIN, STREAM, Results
from bench.stats import median

SLOPE_LIMIT = 1.0
"""MB per 10,000 requests that still counts as flat: about 100 bytes a request, under the noise of one allocator page."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the target table. `passed` is None when the run cannot tell."""

    target: str
    limit: str
    measured: str
    passed: bool | None

    @property
    def verdict(self) -> str:
        return {True: "pass", False: "**FAIL**", None: "not measured"}[self.passed]


def cpu(results: Results, name: str, kind: str) -> float | None:
    cost = results.costs.get((name, kind))
    return cost.median if cost else None


def ratio(results: Results, kind: str, peer: str, ours: str = "tidegate") -> float | None:
    """How many times the peer's CPU per request is ours, from the medians of this run."""
    mine, theirs = cpu(results, ours, kind), cpu(results, peer, kind)
    return theirs / mine if mine and theirs else None


def added(results: Results, name: str, which: Literal["p50", "p99"]) -> float | None:
    """Median over the rounds of (subject's percentile - the direct call's of the same round), in ms."""
    direct, subject = results.latency.get("direct"), results.latency.get(name)
    if direct is None or subject is None:
        return None
    base, ours = (direct.p50, subject.p50) if which == "p50" else (direct.p99, subject.p99)
    differences = [b - a for a, b in zip(base, ours, strict=False)]
    return median(differences) if differences else None


def _ratio_row(results: Results, kind: str, peer: str, least: float, text: str, ours: str = "tidegate") -> Row:
    got = ratio(results, kind, peer, ours)
    measured = "n/a" if got is None else f"1/{got:.1f}"
    return Row(
        target=text, limit=f"at most 1/{least:g}", measured=measured, passed=None if got is None else got >= least
    )


def _below_row(text: str, limit: float, unit: str, got: float | None, *, strict: bool = True) -> Row:
    passed = None if got is None else (got < limit if strict else got <= limit)
    measured = "n/a" if got is None else f"{got:.2f} {unit}" if abs(got) < 100 else f"{got:.0f} {unit}"
    return Row(
        target=text, limit=f"{'under' if strict else 'at most'} {limit:g} {unit}", measured=measured, passed=passed
    )


def rows(results: Results, memory_requests: int) -> list[Row]:
    """All targets in the order they were set; the first rows are the goals, the last ones the same with Redis."""
    idle = {name: memory.idle for name, memory in results.memory.items()}
    ours = results.memory.get("tidegate")
    out = [
        _ratio_row(results, PLAIN.name, "litellm", 15, "CPU per request, of LiteLLM's"),
        _ratio_row(results, PLAIN.name, "litellm", 25, "CPU per request, of LiteLLM's (stretch)"),
        _ratio_row(results, PLAIN.name, "portkey", 2, "CPU per request, of a warm Portkey's"),
        _ratio_row(results, STREAM.name, "litellm", 8, "CPU per 200-chunk stream, of LiteLLM's"),
        _below_row("added p50 at steady 100 requests/s", 2, "ms", added(results, "tidegate", "p50")),
        _below_row("added p99 at steady 100 requests/s", 4, "ms", added(results, "tidegate", "p99")),
        _below_row("idle memory without the embedding model", 150, "MB", idle.get("tidegate")),
        _below_row("idle memory with the embedding model", 300, "MB", idle.get("tidegate-embed")),
        _below_row(
            f"memory slope over {memory_requests:,} requests, per 10,000",
            SLOPE_LIMIT, "MB", ours.slope if ours else None, strict=False,
        ),
    ]  # fmt: skip
    if ("tidegate-redis", PLAIN.name) in results.costs:
        mark, name = " (limits and cache in Redis)", "tidegate-redis"
        out += [
            _ratio_row(results, PLAIN.name, "litellm", 15, f"CPU per request, of LiteLLM's{mark}", name),
            _ratio_row(results, PLAIN.name, "portkey", 2, f"CPU per request, of a warm Portkey's{mark}", name),
            _ratio_row(results, STREAM.name, "litellm", 8, f"CPU per 200-chunk stream, of LiteLLM's{mark}", name),
            _below_row(f"added p50{mark}", 2, "ms", added(results, name, "p50")),
            _below_row(f"added p99{mark}", 4, "ms", added(results, name, "p99")),
        ]
    return out
