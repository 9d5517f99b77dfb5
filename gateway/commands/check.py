"""`tidegate check`: is the configuration right, and what will really run, for each route, dialect and stream mode."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import Any, Literal

import msgspec

from gateway.commands import calls_told, pools_told, prices_told, relays_told
from gateway.configuring.problems import ConfigError

MODES: tuple[tuple[str, Literal["whole", "stream"]], ...] = (("whole", "whole"), ("streamed", "stream"))


def add(commands: Any) -> None:
    parser = commands.add_parser("check", help="validate a configuration and say what will run")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.add_argument("--ask", action="store_true", help="also ask every endpoint of every pool, once")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from gateway import config as configuration

    try:
        config = configuration.load(options.config)
    except ConfigError as error:
        return _problems(error, options)
    report = report_of(config)
    well = True
    if options.ask:
        report["asked"], well = asyncio.run(pools_told.ask(config))
    if options.json:
        print(json.dumps({"ok": True, **report}, indent=2))
        return 0 if well else 1
    print(f"{options.config}: no problems")
    for line in text_of(report):
        print(line)
    return 0 if well else 1


def _problems(error: ConfigError, options: argparse.Namespace) -> int:
    if options.json:
        problems = [{"path": problem.path, "message": problem.message} for problem in error.problems]
        print(json.dumps({"ok": False, "problems": problems}, indent=2))
        return 2
    for problem in error.problems:
        print(problem, file=sys.stderr)
    print(f"{options.config}: {len(error.problems)} problem(s)", file=sys.stderr)
    return 2


def report_of(config: Any) -> dict[str, Any]:
    """What runs: per route its models, limits and caches, and its checks for each dialect and stream mode."""
    import cache.config
    import cache.tool_config
    import guardrails.describe
    from gateway.commands import embedding_told, trust
    from gateway.commands.planning import planning_of, unknown_of
    from gateway.dialects.registry import dialects

    routes = {}
    for name, route in config.all_routes().items():
        checks = {
            f"{dialect}, {mode}": [
                msgspec.to_builtins(line)
                for line in guardrails.describe.describe(config.guardrails, route.guardrails, delivery)
            ]
            for dialect in dialects()
            for mode, delivery in MODES
        }
        caches = cache.config.describe(
            route.cache or cache.config.CacheConfig(), redis=config.redis is not None, qdrant=config.qdrant
        )
        models = route.match.models if route.match else ["every model that no other route names"]
        routes[name] = {
            "models": models,
            "checks": checks,
            "caches": caches,
            "intents": _intents(route),
            "planning": planning_of(config, route),
            "originals": trust.originals(config, name),
            "relay": relays_told.relayed_of(config, name),
        }
    told = [*warnings_of(config), *unknown_of(config), *trust.warnings(config), *embedding_told.warnings(config)]
    told += [*calls_told.warnings(config), *pools_told.warnings(config), *relays_told.warnings(config)]
    tools = {
        name: cache.tool_config.describe(tool, redis=config.redis is not None, qdrant=config.qdrant)
        for name, tool in config.tool_caches.items()
    }
    return {
        "routes": routes,
        "tool_caches": tools,
        "embedding": embedding_told.embedding_of(config),
        "calls": calls_told.calls_of(config),
        "pools": pools_told.pools_of(config),
        "prices": prices_told.prices_of(config),
        "warnings": told,
    }


def _intents(route: Any) -> list[str]:
    if route.intents is None:
        return []
    return [
        f"{name} -> " + ", ".join(f"{field} {value!r}" for field in ("answer", "model", "handoff", "clarify", "action")
                                  if (value := getattr(then, field)) is not None)
        for name, then in route.intents.then.items()
    ]  # fmt: skip


def warnings_of(config: Any) -> list[str]:
    """What is allowed and worth knowing."""
    found = []
    many = config.server.workers > 1
    if many and config.redis is None:
        found.append(
            f"server.workers: {config.server.workers} without redis: limits and exact caches are counted per worker"
        )
    if (config.redis or config.qdrant.startswith("http")) and config.server.secret is None:
        found.append("server.secret: absent; set it (or TIDEGATE_SECRET), or replicas share no cache entries")
    if many and config.telemetry.prometheus:
        found.append("telemetry.prometheus: each worker has its own /metrics; a scrape sees one of them")
    if config.access.keys is None:
        found.append("access.keys: absent; everyone who can reach the loopback address may use every model")
    found += _without_encoder(config)
    found += [
        f"tool_caches.{name}.partition: route; whoever may use this gateway may store what everybody is given"
        for name, tool in config.tool_caches.items()
        if tool.partition == "route"
    ]
    teams = {then.handoff for route in config.routes.values() if route.intents for then in route.intents.then.values()}
    teams |= {check.handoff for check in config.guardrails.values()}
    for team in sorted(team for team in teams if team and team not in config.handoffs):
        found.append(f"handoffs.{team}: absent; only the application is told, in x-tidegate-handoff")
    return found


def _without_encoder(config: Any) -> list[str]:
    """Checks that look with one tier less, because the encoder was not built here."""
    from gateway import config as configuration
    from gateway.embedding.files import BUILD_COMMAND, ModelMissing, checked, models_dir

    names = sorted(configuration.better_with_embedding(config))
    if not names:
        return []
    try:
        checked(models_dir(), "int8")
    except ModelMissing:
        return [
            f"guardrails.{name}: looks without its embedding tier; build the encoder: {BUILD_COMMAND}" for name in names
        ]
    return []


def _row(line: dict[str, str]) -> str:
    missed = f"; misses {line['misses']}" if line["misses"] else ""
    return f"    {line['check']} ({line['use']}) on {line['side']}, {line['mode']}: {line['acts']}{missed}"


def _grouped(checks: dict[str, list[dict[str, str]]]) -> list[tuple[str, list[str]]]:
    """Dialects and stream modes in which exactly the same runs are told once."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for where, lines in checks.items():
        groups.setdefault(tuple(_row(line) for line in lines), []).append(where)
    return [("; ".join(places), list(rows)) for rows, places in groups.items()]


def text_of(report: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    for name, route in report["routes"].items():
        lines += ["", f"route {name}", f"  models: {', '.join(route['models'])}"]
        lines += [f"  intent: {line}" for line in route["intents"]]
        lines += [f"  plan: {line}" for line in route["planning"]]
        lines += [f"  cache: {line}" for line in route["caches"]]
        lines += [f"  trust: {line}" for line in route["originals"]]
        lines += [f"  relay: {line}" for line in route["relay"]]
        for where, rows in _grouped(route["checks"]):
            lines.append(f"  checks ({where}):" + ("" if rows else " none"))
            lines += rows
    for name, told in report["tool_caches"].items():
        lines += ["", f"tool cache {name}", *(f"  {line}" for line in told)]
    if report["embedding"]:
        lines += ["", "embedding"]
        lines += [f"  {line}" for line in report["embedding"]]
    for name, told in report["calls"].items():
        lines += ["", f"model {name}", *(f"  {line}" for line in told)]
    for title in ("pools", "asked"):
        for name, told in report.get(title, {}).items():
            lines += [
                "",
                f"{'pool' if title == 'pools' else 'answers of pool'} {name}",
                *(f"  {line}" for line in told),
            ]
    lines += ["", "prices", *(f"  {line}" for line in prices_told.lines_of(report["prices"]))]
    if report["warnings"]:
        lines += ["", "worth knowing:"]
        lines += [f"  {line}" for line in report["warnings"]]
    return lines
