"""``python -m bench.pools [--seconds N] [--fleet] [--write]``: policies side by side, simulated and on real servers."""

from __future__ import annotations

import argparse
import asyncio
import platform
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from bench.peers import Unavailable
from bench.place import ROOT
from bench.pools import fleet, report
from bench.pools.asked import LOADS, Ask
from bench.pools.figures import Figures
from bench.pools.jobs import WORKLOADS
from bench.pools.ours import OURS, WITH_REDIS
from bench.pools.simulate import REPLICAS, mishaps, policies, run
from bench.results import put

THROUGH_MISHAPS = "conversations"
"""The workload that the mishaps befall: there is most to lose."""


def simulated(seconds: float) -> tuple[report.Simulated, report.Simulated]:
    """By workload, and by mishap."""
    makes = policies(OURS)
    plain: dict[str, dict[str, Figures]] = {}
    for workload in WORKLOADS:
        say(f"simulating {workload}")
        plain[workload] = {name: run(workload, make, seconds) for name, make in makes.items()}
    through: dict[str, dict[str, Figures]] = {}
    for mishap, (gateways, happenings) in mishaps(seconds).items():
        say(f"simulating {THROUGH_MISHAPS} with {mishap}")
        tried = {**makes, **(WITH_REDIS if gateways > 1 else {})}
        through[mishap] = {
            name: run(THROUGH_MISHAPS, make, seconds, gateways=gateways, happenings=happenings)
            for name, make in tried.items()
        }
    return plain, through


async def measured() -> tuple[report.Measured, str]:
    """By workload and router, and what could not be had."""
    state, work = ROOT / ".bench", ROOT / ".bench" / "pools"
    work.mkdir(parents=True, exist_ok=True)
    routers, missing = list(fleet.ROUTERS), ""
    try:
        say(f"smg {fleet.install_smg(state)}")
    except Unavailable as reason:
        routers, missing = [router for router in routers if router.ours], f"smg was not measured: {reason}"
    found: dict[str, dict[str, fleet.Run]] = {}
    for name, load in LOADS.items():
        asked: dict[str, list[Ask]] = {router.name: [] for router in routers}
        for turn in range(fleet.TURNS):
            for router in routers:
                asks = load.asks(turn)
                await fleet.measure(router, asks, work, state)
                run = fleet.run_of(asks)
                say(f"{name}: {router.name}: {1000 * run.mean:.0f} ms, {run.cached:.0%} cached, {run.failed} failed")
                asked[router.name] += asks
        found[name] = {router: fleet.run_of(asks) for router, asks in asked.items()}
    return found, missing


def say(what: str) -> None:
    print(f"pools: {what} ...", file=sys.stderr, flush=True)


def text(command: str, plain: report.Simulated, through: report.Simulated, real: report.Measured, missing: str) -> str:
    stamp = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    parts = [f"`{command}` on {stamp}, {platform.machine()}, Python {platform.python_version()}."]
    if real:
        parts += [
            f"### Real servers\n\n{fleet.REPLICAS} llama.cpp servers of {fleet.SLOTS} slots, restarted for each router, "
            f"every router with the same calls at the same times, in {fleet.TURNS} turns with other prompts. What is asked: "
            "`bench/pools/asked.py`. A prompt's tokens are counted as cached by the server itself.",
            report.targets(real), report.fleet(real), "![Waits and cache shares](plots/pools-fleet.svg)", missing,
        ]  # fmt: skip
    parts += [
        f"### Simulated\n\n{REPLICAS} replicas (`bench/pools/world.py`), the same calls for every policy; the rules of "
        "others as their documentation tells them (`bench/pools/rules.py`), ours is the code that serves. `spread`: "
        "deviation of the tokens the replicas had to read, over their mean; `fairness`: Jain's index over tenants.",
        report.simulated(plain, "workload"), "![Waits](plots/pools-simulated.svg)",
        f"Through mishaps, on {THROUGH_MISHAPS}:", report.simulated(through, "what happens"),
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.pools", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0, help="of simulated time for each workload")
    parser.add_argument(
        "--fleet", action="store_true", help="real llama.cpp servers, too: about twenty minutes, quiet ones"
    )
    parser.add_argument("--write", action="store_true", help="into bench/RESULTS.md")
    options = parser.parse_args(arguments)
    plain, through = simulated(options.seconds)
    real, missing = asyncio.run(measured()) if options.fleet else ({}, "")
    command = "python -m bench.pools" + (" --fleet" if options.fleet else "") + " --write"
    out = text(command, plain, through, real, missing)
    if options.write:
        say(f"written to {put('pools', 'GPU pools', out, report.plots(plain, real))}")
    else:
        print(out)


if __name__ == "__main__":
    main()
