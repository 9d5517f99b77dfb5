"""The figures of `bench.pools`, as a part of RESULTS.md and as plots."""

from __future__ import annotations

from collections.abc import Mapping

from bench.plot import bars
from bench.pools.figures import SLO_FIRST, Figures
from bench.pools.fleet import Run
from bench.report import table

Simulated = Mapping[str, Mapping[str, Figures]]
"""By workload, or by mishap, then by policy."""
Measured = Mapping[str, Mapping[str, Run]]
"""By workload, then by router."""

LEAST_GAIN = 0.65
"""The mean wait with prefix, of round robin's."""
LEAST_CACHED = 2.0
"""The share of tokens out of a cache, times round robin's."""


def ours(name: str) -> bool:
    return name.startswith("Tidegate, prefix")


def simulated(figures: Simulated, first: str) -> str:
    rows = []
    for name, by_policy in figures.items():
        for policy, f in by_policy.items():
            waits = [f"{value:.2f}" for value in (f.mean, f.p50, f.p95, f.p99)]
            shares = [f"{f.cached:.0%}", f"{f.spread:.2f}", f"{f.goodput:.1%}", f"{f.fairness:.2f}", f"{f.failed:.1%}"]
            rows.append([name, f"**{policy}**" if ours(policy) else policy, *waits, *shares, f"{f.micros:.0f}"])
            name = ""
    head = [
        first, "policy", "mean s", "p50", "p95", "p99", "tokens cached", "spread", f"begun in {SLO_FIRST:g} s",
        "fairness", "broken", "µs a pick",
    ]  # fmt: skip
    return table(head, rows)


def fleet(measured: Measured) -> str:
    rows = []
    for name, by_router in measured.items():
        for router, run in by_router.items():
            times = [f"{1000 * value:.0f}" for value in (run.mean, run.p50, run.p99)]
            rows.append(
                [name, f"**{router}**" if ours(router) else router, *times, f"{run.cached:.0%}", str(run.failed)]
            )
            name = ""
    return table(["workload", "router", "mean ms", "p50", "p99", "tokens cached", "failed"], rows)


def targets(measured: Measured) -> str:
    """Of the first workload: the limits are about shared prefixes."""
    by_router = next(iter(measured.values()))
    robin, prefix = by_router["Tidegate, round_robin"], by_router["Tidegate, prefix"]
    rows = [
        _target("mean wait, of round robin's", f"at most {LEAST_GAIN}", prefix.mean / robin.mean, below=LEAST_GAIN),
        _target(
            "tokens out of a cache, times round robin's", f"at least {LEAST_CACHED:g}", prefix.cached / robin.cached,
            above=LEAST_CACHED,
        ),
    ]  # fmt: skip
    smg = by_router.get("smg, cache_aware")
    if smg is not None:
        rows.append(_target("mean wait, of smg's cache_aware", "at most 1", prefix.mean / smg.mean, below=1.0))
    return table(["target", "limit", "measured", ""], rows)


def _target(what: str, limit: str, got: float, *, below: float | None = None, above: float | None = None) -> list[str]:
    good = (below is None or got <= below) and (above is None or got >= above)
    return [what, limit, f"{got:.2f}", "pass" if good else "**FAIL**"]


def plots(figures: Simulated, measured: Measured) -> dict[str, str]:
    simulated_waits = [
        (f"{name}: mean seconds to the first token", [(policy, f.mean, ours(policy)) for policy, f in by.items()])
        for name, by in figures.items()
    ]
    drawn = {"pools-simulated.svg": bars(simulated_waits, left=260, cut=4.0)}
    if measured:
        panels = []
        for name, runs in measured.items():
            waits = [(router, 1000 * run.mean, ours(router)) for router, run in runs.items()]
            shares = [(router, 100 * run.cached, ours(router)) for router, run in runs.items()]
            panels += [(f"{name}: mean ms to the first token", waits), (f"{name}: % of tokens out of a cache", shares)]
        drawn["pools-fleet.svg"] = bars(panels, left=200)
    return drawn
