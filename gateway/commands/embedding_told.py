"""Who embeds, for `tidegate check`: which encoder, and whose questions leave the house for it."""

from __future__ import annotations

from typing import Any

from cache.tool_config import owner_name
from gateway import config as configuration
from gateway.encoders import remote_id
from gateway.providers.config import profile_of
from gateway.providers.vectors import target_of
from routing.router import BUDGET

MASKS = ("pii", "secrets")


def embedding_of(config: Any) -> list[str]:
    """Lines about the encoder; none where no route uses one."""
    used = _used(config)
    if not used:
        return []
    given = config.embedding
    if given is None:
        return [f"built in, on this machine: {', '.join(used)}"]
    place = "trusted" if _trusted(config) else "outside"
    return [
        f"{remote_id(config)}, {place}: {', '.join(used)}",
        f"at most {given.batch} texts a call, {given.deadline * 1000:g} ms for a question; when it fails: a cache miss, no "
        "intent, and x-tidegate-degraded says so",
        "near answers: the learned verifier belongs to the built-in encoder; with this one the cosine itself is compared "
        "with `threshold`, and evidence begins anew",
    ]


def warnings(config: Any) -> list[str]:
    """What is allowed and worth knowing."""
    given = config.embedding
    if given is None:
        return []
    found = []
    if not _used(config):
        found.append(
            "embedding: no route has intents or a semantic cache, and no tool cache is semantic: nobody is asked"
        )
    for name in [] if _trusted(config) else _semantic_tools(config):
        found.append(
            f"tool_caches.{name}: its queries go to {target_of(given, config.models).provider} for their vectors as they are"
        )
    for name, route in config.all_routes().items():
        if not configuration.uses_vectors(route):
            continue
        if not _trusted(config) and not _masks(config, route):
            found.append(
                f"routes.{name}: its questions go to {target_of(given, config.models).provider} for their vectors as they "
                "are; no check of the route masks them"
            )
        budget = route.intents.budget if route.intents is not None else None
        if budget is not None and budget < given.deadline:
            found.append(
                f"routes.{name}.intents.budget: {budget * 1000:g} ms is less than embedding.deadline; leave it out, or many "
                f"questions go without an intent (the built-in encoder needs {BUDGET * 1000:g} ms at most)"
            )
    return found


def _used(config: Any) -> list[str]:
    """The routes and namespaces that need somebody who embeds."""
    routes = [name for name, route in config.all_routes().items() if configuration.uses_vectors(route)]
    return [*routes, *map(owner_name, _semantic_tools(config))]


def _semantic_tools(config: Any) -> list[str]:
    return [name for name, tool in config.tool_caches.items() if tool.kind == "semantic"]


def _trusted(config: Any) -> bool:
    """Whether the provider that embeds is inside the house."""
    return profile_of(config.providers[target_of(config.embedding, config.models).provider]).trust == "internal"


def _masks(config: Any, route: Any) -> bool:
    """Whether some check of the route masks what users say."""
    checks = [config.guardrails[name] for name in route.guardrails]
    return any(check.use in MASKS and check.action == "mask" and "input" in check.on for check in checks)
