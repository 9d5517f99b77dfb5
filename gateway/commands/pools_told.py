"""What `tidegate check` says of pools: how each is found, probed and read; with `--ask` also what its endpoints answer."""

from __future__ import annotations

from typing import Any


def pools_of(config: Any) -> dict[str, list[str]]:
    """By provider, for those that have anything to be watched."""
    from gateway.providers.config import profile_of, urls_of
    from gateway.providers.watch_config import health_of, metrics_of, plural

    told = {}
    for name, provider in config.providers.items():
        profile = profile_of(provider)
        health, metrics = health_of(provider, profile), metrics_of(provider, profile)
        if not (plural(provider) or health or metrics):
            continue
        lines = [_found(provider, len(urls_of(provider, profile)))]
        page = profile.engine.health
        path = (health and health.path) or (page.path if page else "")
        lines.append(f"health: {path} every {health.every:g} s" if health else "health: only calls that fail tell")
        lines += _read(metrics, profile)
        told[name] = lines
    return told


def _found(provider: Any, listed: int) -> str:
    said = provider.discover
    if said is None:
        return f"{listed} endpoint{'s' if listed != 1 else ''}, balance {provider.balance}"
    kind = "SRV records" if said.dns.startswith("_") else f"addresses, port {said.port}"
    return f"endpoints by DNS: {said.dns} ({kind}) every {said.every:g} s, balance {provider.balance}"


def _read(metrics: Any, profile: Any) -> list[str]:
    from gateway.providers.watch_config import readers

    if metrics is None:
        return ["metrics: not read; the gateway counts what it sends itself"]
    lines = []
    for reader in readers(metrics, profile):
        page = reader.page
        fields = ", ".join(reader.fields)
        lines.append(f"metrics: {page.path}{f' on port {page.port}' if page.port else ''}: {fields}")
    return lines


def warnings(config: Any) -> list[str]:
    """What is allowed and worth knowing."""
    from gateway.providers.config import profile_of
    from gateway.providers.watch_config import READS, metrics_of, plural

    found = []
    for name, provider in config.providers.items():
        at = f"providers.{name}"
        said = provider.discover
        if said is not None and said.scheme == "https" and not said.dns.startswith("_"):
            found.append(f"{at}.discover: https to addresses: each certificate must hold its server's address")
        if plural(provider) and provider.balance in READS and metrics_of(provider, profile_of(provider)) is None:
            found.append(f"{at}.metrics: nothing is read; {provider.balance} then knows only what this gateway sent")
        if plural(provider) and config.redis is None and config.server.workers > 1:
            found.append(f"{at}: without redis, draining an endpoint reaches one worker of {config.server.workers}")
    return found


async def ask(config: Any) -> tuple[dict[str, list[str]], bool]:
    """Everything once, now: lines by provider, and whether all is as it should be."""
    from gateway.core.clock import SystemClock
    from gateway.pools.endpoints import Endpoints
    from gateway.providers.config import profile_of, urls_of
    from gateway.providers.watch import Pools

    clock = SystemClock()
    endpoints = {
        name: Endpoints(urls_of(provider, profile_of(provider)), provider.balance, clock)
        for name, provider in config.providers.items()
    }
    pools = Pools(config.providers, endpoints, clock, lambda _event, **_facts: None)
    try:
        await pools.once()
        told: dict[str, list[str]] = {name: [] for name in pools_of(config)}
        well = True
        for row in pools.rows():
            if row.provider in told:
                line, good = _answered(row)
                told[row.provider].append(line)
                well = well and good
        for name, why in pools.degraded().items():
            well = False
            if not told.setdefault(name.removeprefix("pool:"), []):
                told[name.removeprefix("pool:")].append(why)
        return told, well
    finally:
        await pools.stop()


def _answered(row: Any) -> tuple[str, bool]:
    wrong = [f"ill: {row.why_ill}"] if not row.well else []
    if row.metrics_trouble:
        wrong.append(f"metrics cannot be read: {row.metrics_trouble}")
    if row.missing:
        wrong.append(f"missing: {', '.join(row.missing)}")
    tells = {"waiting": row.waiting, "running": row.running, "kv": row.kv, "blocks": row.blocks, "slots": row.slots}
    said = ", ".join(f"{name} {value:g}" for name, value in tells.items() if value is not None)
    return f"{row.endpoint}: {'; '.join(wrong) or 'well'}{f' ({said})' if said else ''}", not wrong
