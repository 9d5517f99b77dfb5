"""The configuration: one YAML file, assembled from each package's own section, read and checked as a whole."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

import cache.config
import guardrails.config
import routing.config
from cache import tool_config
from cache.config import CacheConfig
from cache.tool_config import ToolCacheConfig
from gateway.accounting.config import AccountingConfig
from gateway.admission.config import AccessConfig, LimitsConfig
from gateway.configuring.convert import convert
from gateway.configuring.document import filled, parse
from gateway.configuring.problems import ConfigError, Problem, did_you_mean
from gateway.configuring.schema import schema_of
from gateway.configuring.server import ServerConfig
from gateway.core.receipt import OWN_ROUTES
from gateway.core.request import Operation
from gateway.dialects.registry import upstream_dialects
from gateway.embedding.config import EmbeddingConfig
from gateway.feedback.config import FeedbackConfig
from gateway.handover import config as handover
from gateway.handover.config import HandoffConfig
from gateway.providers.catalog import is_file
from gateway.providers.config import ProviderConfig, profile_of, provider_problems
from gateway.providers.dispatch_config import SHORTEST_SILENCE
from gateway.providers.model_config import ModelConfig, model_problems
from gateway.providers.price_table import read_table, told_by
from gateway.providers.prices import price_problems
from gateway.providers.vectors import embedding_problems
from gateway.relay import config as relaying
from gateway.relay.config import RelayConfig
from gateway.telemetry.config import TelemetryConfig
from guardrails.config import GuardrailConfig
from routing.config import ContextConfig, IntentsConfig, RouteMatch, Rules, TiersConfig

_LARGEST_FILE = 4 * 1024 * 1024
LOOPBACK = ("127.0.0.1", "::1", "localhost")


class RouteConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    match: RouteMatch | None = None
    intents: IntentsConfig | None = None
    tiers: TiersConfig | None = None
    context: ContextConfig = ContextConfig()
    baseline: str | None = None
    """The model whose price everything is compared with: what if it had answered all of this?"""
    guardrails: list[str] = []
    cache: CacheConfig | None = None
    limits: LimitsConfig | None = None
    relay: Literal["unscanned"] | None = None
    """`unscanned`: what the route's checks cannot read (sound, pictures, files) is relayed all the same. Absent: only where
    none of them has `on_error: closed`."""

    def planning(self) -> Rules:
        """What says which model answers."""
        return Rules(
            match=self.match, intents=self.intents, tiers=self.tiers, context=self.context, baseline=self.baseline
        )


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    version: int
    server: ServerConfig = ServerConfig()
    redis: str | None = None
    qdrant: str = ":memory:"
    providers: dict[str, ProviderConfig]
    models: dict[str, ModelConfig]
    guardrails: dict[str, GuardrailConfig] = {}
    handoffs: dict[str, HandoffConfig] = {}
    embedding: EmbeddingConfig | None = None
    tool_caches: dict[str, ToolCacheConfig] = {}
    routes: dict[str, RouteConfig] = {}
    relay: RelayConfig = RelayConfig()
    feedback: FeedbackConfig = FeedbackConfig()
    access: AccessConfig = AccessConfig()
    accounting: AccountingConfig = AccountingConfig()
    telemetry: TelemetryConfig = TelemetryConfig()

    def offers(self, provider: str) -> tuple[Operation, ...]:
        """What a provider can be asked."""
        return profile_of(self.providers[provider]).operations

    def all_routes(self) -> dict[str, RouteConfig]:
        """With `default`, which is always there."""
        return {"default": RouteConfig(), **self.routes}


def load(path: Path, environment: Mapping[str, str] | None = None) -> Config:
    """The configuration in the file. Raises `ConfigError` with every problem found."""
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise ConfigError([Problem("", f"{path} is larger than {_LARGEST_FILE} bytes")])
        text = path.read_text("utf-8")
    except OSError as error:
        raise ConfigError([Problem("", f"cannot read {path}: {error.strerror}")]) from None
    except UnicodeDecodeError:
        raise ConfigError([Problem("", f"{path} is not UTF-8")]) from None
    return read(text, path.parent, environment)


def read(text: str, base: Path, environment: Mapping[str, str] | None = None) -> Config:
    """The configuration in a text. Relative paths in it start at `base`."""
    value, found = parse(text, os.environ if environment is None else environment, base)
    if value is None:
        raise ConfigError(found)
    return of_value(value, base, found)


def of_value(value: Any, base: Path, found: list[Problem] | None = None) -> Config:
    """The configuration of plain values, with `${VAR}` already filled in (see `made`)."""
    problems = list(found or [])
    config = convert(value, Config, "", problems)
    if not problems:
        config = _priced(_anchored(config, base), base, problems)
        problems.extend(check(config, base))
    if problems:
        raise ConfigError(sorted(set(problems)))
    assert isinstance(config, Config)
    return config


def _anchored(config: Config, base: Path) -> Config:
    """With classifiers' directories and vendors' files as they are from here: like all paths, they start at `base`."""
    checks = {
        name: msgspec.structs.replace(check, model=str(base / check.model))
        if check.model is not None and check.use != "remote"
        else check
        for name, check in config.guardrails.items()
    }
    providers = {
        name: msgspec.structs.replace(provider, type=str(base / provider.type)) if is_file(provider.type) else provider
        for name, provider in config.providers.items()
    }
    return msgspec.structs.replace(config, guardrails=checks, providers=providers)


def _priced(config: Config, base: Path, problems: list[Problem]) -> Config:
    """With what the operator's own table of prices says."""
    if config.accounting.prices is None:
        return config
    path = base / config.accounting.prices
    try:
        own = read_table(path, config.providers)
    except ValueError as error:
        problems.append(Problem("accounting.prices", str(error)))
        return config
    accounting = msgspec.structs.replace(config.accounting, prices=str(path))
    models = told_by(own, config.models, config.providers)
    return msgspec.structs.replace(config, models=models, accounting=accounting)


def made(value: Any, base: Path) -> Config:
    """The configuration of plain values whose strings may hold `${VAR}`: the demo's."""
    complete, problems = filled(value, os.environ, base)
    return of_value(complete, base, problems)


def check(config: Config, base: Path) -> list[Problem]:
    """What the types cannot see: references between sections, and values that make no sense together."""
    found = [Problem(*pair) for pair in _own(config, base)]
    found += [Problem(*pair) for pair in provider_problems(config.providers, upstream_dialects().keys())]
    found += [Problem(*pair) for pair in model_problems(config.models, config.providers)]
    if config.accounting.unpriced == "refuse":
        found += [Problem(*pair) for pair in price_problems(config.models, config.providers)]
    found += [Problem(*pair) for pair in guardrails.config.problems(config.guardrails)]
    found += [Problem(*pair) for pair in _judges(config)]
    if not found:
        found += [Problem(*pair) for pair in relaying.problems(config.relay, config.providers, config.offers)]
    found += [Problem(*pair) for pair in handover.problems(config.handoffs)]
    if config.embedding is not None:
        found += [Problem(*pair) for pair in embedding_problems(config.embedding, config.providers, config.models)]
    found += [
        Problem(*pair) for pair in routing.config.overlaps({n: route.match for n, route in config.routes.items()})
    ]
    tools = tool_config.problems(config.tool_caches, config.routes, qdrant=config.qdrant, workers=config.server.workers)
    found += [Problem(*pair) for pair in tools]
    for name, route in config.all_routes().items():
        found += [Problem(*pair) for pair in _route(name, route, config, base)]
    return found


def _own(config: Config, base: Path) -> Iterator[tuple[str, str]]:
    server = config.server
    if config.version != 1:
        yield "version", f"{config.version} is not known; this gateway reads version 1"
    if not 0 <= server.port <= 65535:
        yield "server.port", f"{server.port} is not a port"
    if 0 < server.keepalive < SHORTEST_SILENCE:
        yield "server.keepalive", "must be at least 1ms; 0 means never"
    if not 1 <= server.workers <= 256:
        yield "server.workers", f"{server.workers} is not between 1 and 256"
    if server.secret is not None and len(server.secret.reveal()) < 16:
        yield "server.secret", "shorter than 16 characters"
    if not 0.0 <= config.telemetry.sample <= 1.0:
        yield "telemetry.sample", f"{config.telemetry.sample} is not between 0 and 1"
    if config.redis is not None and not config.redis.startswith(("redis://", "rediss://", "unix://")):
        yield "redis", "must be a URL that starts with redis://, rediss:// or unix://"
    if config.access.keys is None and server.host not in LOOPBACK:
        yield (
            "access.keys",
            f"missing, and server.host {server.host} is not a loopback address; make keys: tidegate keys create",
        )
    if config.access.keys is not None:
        yield from _keys(config.access.keys, base)


def _keys(name: str, base: Path) -> Iterator[tuple[str, str]]:
    from gateway.admission.keyring import read_key_file

    try:
        read_key_file(base / name)
    except OSError as error:
        yield "access.keys", f"cannot read {name}: {error.strerror}; make keys: tidegate keys create --file {name}"
    except ValueError as error:
        yield "access.keys", str(error)


def _judges(config: Config) -> Iterator[tuple[str, str]]:
    """Models that checks ask. No check runs on what they are asked, so none can ask itself in a circle."""
    for own in OWN_ROUTES & config.routes.keys():
        yield f"routes.{own}", "the name is kept for the gateway's own questions to models; choose another"
    for name, check in config.guardrails.items():
        if check.judge is not None and check.judge.model not in config.models:
            asked = check.judge.model
            yield f"guardrails.{name}.judge.model", f"no model is called {asked!r}{did_you_mean(asked, config.models)}"


def _route(name: str, route: RouteConfig, config: Config, base: Path) -> Iterator[tuple[str, str]]:
    path = f"routes.{name}"
    for at, check_name in enumerate(route.guardrails):
        if check_name not in config.guardrails:
            yield (
                f"{path}.guardrails[{at}]",
                f"no guardrail is called {check_name!r}{did_you_mean(check_name, config.guardrails)}",
            )
    if name != "default" and (route.match is None or not route.match.models):
        yield f"{path}.match", "missing; say which models this route serves, or nothing will ever reach it"
    yield from routing.config.problems(name, route.match, route.intents, config.models.keys(), base, route.tiers)
    yield from routing.config.planning_problems(name, route.planning(), config.models.keys())
    if route.cache is not None:
        workers = config.server.workers
        qdrant = config.qdrant
        for line in cache.config.problems(route.cache, f"{path}.cache", qdrant=qdrant, workers=workers, base=base):
            where, _, message = line.partition(": ")
            yield where, message
    limits = route.limits
    for field in ("rpm", "tpm", "concurrency"):
        value = getattr(limits, field) if limits is not None else None
        if value is not None and value < 1:
            yield f"{path}.limits.{field}", f"{value} lets nothing through; leave it out for no limit"


def served(config: Config) -> frozenset[str]:
    """Every name a client may ask for: aliases, and the names that routes of their own answer to."""
    named = {model for route in config.routes.values() if route.match for model in route.match.models}
    return frozenset(config.models) | named


def schema() -> dict[str, Any]:
    return schema_of(Config, "Tidegate configuration")


def schema_bytes() -> bytes:
    return msgspec.json.encode(schema())


def needs_embedding(config: Config) -> bool:
    """Whether anything cannot do without the built-in encoder: a check that compares meanings; and, unless a provider embeds
    for them, a route that routes by intent or answers from similar questions."""
    meant = {name for name, check in config.guardrails.items() if check.use == "topic"}
    return any(
        (config.embedding is None and uses_vectors(route)) or meant & set(route.guardrails)
        for route in config.all_routes().values()
    ) or (config.embedding is None and any(tool.kind == "semantic" for tool in config.tool_caches.values()))


def uses_vectors(route: RouteConfig) -> bool:
    """Whether the route's intents or its semantic cache need somebody who embeds."""
    return route.intents is not None or (route.cache is not None and route.cache.semantic is not None)


def better_with_embedding(config: Config) -> frozenset[str]:
    """The checks in use that have a tier of their own for the encoder, and go without where it is not built."""
    used = {name for route in config.all_routes().values() for name in route.guardrails}
    return frozenset(name for name in used if config.guardrails[name].use == "injection")
