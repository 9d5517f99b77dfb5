"""The parts whose making needs a decision: from the configuration to the one right object."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

import cache.build
import guardrails.build
import guardrails.moderate
import routing.build
from cache.build import Caches
from cache.tool_config import owner_name
from gateway import config as configuration
from gateway.accounting.cost import cost_usd, target_cost
from gateway.admission.admit import Admit, Authenticator, Door, Permit
from gateway.admission.keyring import Keyring, OpenAccess
from gateway.admission.limits import Concurrency, MemoryLimiter, RedisLimiter
from gateway.config import Config
from gateway.console.series import Series
from gateway.core.clock import Clock
from gateway.core.exchange import Exchange
from gateway.core.ports import Dialect, Limiter, Post
from gateway.encoders import Encoders
from gateway.http import moderations as moderating
from gateway.http import tool_caches
from gateway.pipeline.aftermath import Aftermath
from gateway.pipeline.alone import Alone
from gateway.pipeline.beside import Verdict
from gateway.pipeline.build import Common, Pipeline, RouteParts
from gateway.pipeline.dispatch import Dispatcher
from gateway.pipeline.judging import RouteJudge
from gateway.pipeline.pinning import Pin, Pins
from gateway.pipeline.receive import Receive
from gateway.pipeline.shadowing import Shadows
from gateway.providers.build import plans as build_plans
from gateway.providers.upstream import HttpUpstream
from gateway.providers.watch import Pools
from gateway.relay.seal import Seals
from gateway.revisions import revisions
from gateway.telemetry.logs import Logger
from guardrails.kind import Tools
from routing.build import Routers
from routing.examples import OUT_OF_SCOPE, UNCLEAR
from routing.plans import Plans

if TYPE_CHECKING:
    from gateway.embedding.minilm import MiniLM


def secret_of(config: Config) -> bytes:
    """The configured secret, or the environment's, or one for this start."""
    given = config.server.secret.reveal() if config.server.secret else os.environ.get("TIDEGATE_SECRET", "")
    return given.encode() if len(given) >= 16 else secrets.token_bytes(32)


def heads_folder(config: Config) -> Path | None:
    """Where fitted intent heads are kept between starts."""
    if not any(route.intents for route in config.all_routes().values()):
        return None
    from gateway.embedding.files import models_dir

    return models_dir() / "heads"


def caches(config: Config, secret: bytes, clock: Clock, encoders: Encoders, base: Path) -> Caches:
    return cache.build.build(
        {name: route.cache for name, route in config.all_routes().items()},
        secret=secret,
        clock=clock,
        redis=config.redis,
        qdrant=config.qdrant,
        embed=encoders.meaning,
        embed_budget=encoders.budget or cache.build.EMBED_BUDGET,
        tools=config.tool_caches,
        secrets=guardrails.moderate.holds_secret,
        base=base,
    )


def series(config: Config, clock: Clock, made: Caches, intents: Mapping[str, Sequence[str]]) -> Series:
    """The console's counts over time, by the names of this configuration. `intents`: of each route that has some."""
    routes = config.all_routes()
    near = {name: route.cache.semantic for name, route in routes.items() if route.cache and route.cache.semantic}
    return Series(
        clock,
        routes=[*routes, *map(owner_name, config.tool_caches)],
        intents=dict.fromkeys((OUT_OF_SCOPE, UNCLEAR, *(name for names in intents.values() for name in names))),
        limits={name: semantic.max_false_hit_rate for name, semantic in near.items()},
        stats=made.stats,
    )


def authenticator(config: Config, base: Path, host: str, clock: Clock, failed: Callable[[str], None]) -> Authenticator:
    """The key file's, or everybody on loopback. Raises ValueError where neither would do."""
    if config.access.keys is not None:
        return Keyring(base / config.access.keys, clock, failed=failed)
    if host not in configuration.LOOPBACK:
        raise ValueError(f"access.keys: missing, and {host} is not a loopback address")
    return OpenAccess()


def pools(config: Config, upstreams: Mapping[str, HttpUpstream], made: Caches, clock: Clock, logger: Logger) -> Pools:
    """What watches the providers' endpoints. Drains and news are shared over the caches' Redis, where there is one."""
    endpoints = {name: upstream.endpoints for name, upstream in upstreams.items()}
    call = made.redis.call if made.redis is not None else None
    board = None
    if made.redis is not None:
        from cache.backends.redis_news import RedisBoard

        board = RedisBoard(made.redis, "pools")
    return Pools(config.providers, endpoints, clock, logger.warning, redis=call, board=board)


def limiter(made: Caches, clock: Clock) -> Limiter:
    """In Redis where there is one, over the caches' connection."""
    return RedisLimiter(made.redis.call, clock) if made.redis is not None else MemoryLimiter(clock)


def moderations(
    keys: Authenticator, limits: Limiter, concurrency: Concurrency, embed: MiniLM | None = None
) -> Pipeline:
    """What `/v1/moderations` goes through: the gateway's own checks on given texts, in a thread of their own."""
    moderator = guardrails.moderate.Moderator(*((embed.encode, embed.id) if embed is not None else ()))
    line = guardrails.moderate.JudgingLine(moderator, guardrails.moderate.MOST_WAITING)
    return moderating.pipeline(Door(Admit(keys, limits), concurrency), line.judge)


def tool_caching(keys: Authenticator, limits: Limiter, concurrency: Concurrency, made: Caches) -> Pipeline:
    """What a lookup or a store of an application's own values goes through."""
    return tool_caches.pipeline(Door(Admit(keys, limits), concurrency), made.tools)


def shadows(
    config: Config, dispatcher: Dispatcher, aftermath: Aftermath, crashed: Callable[[Exchange, BaseException], None]
) -> Shadows:
    """Copies of requests for other models; `dispatcher` tells of what was answered."""
    plans = Plans(build_plans(config.models, config.providers))
    made = Shadows(Alone(dispatcher, aftermath, cost=target_cost, crashed=crashed), plans.get)
    dispatcher.shadow = made.cast
    return made


def tools(
    config: Config,
    dialects: Mapping[str, Dialect],
    dispatcher: Dispatcher,
    aftermath: Aftermath,
    post: Post,
    clock: Clock,
    crashed: Callable[[Exchange, BaseException], None],
    embed: MiniLM | None,
    secret: bytes,
) -> Tools:
    """What checks may use of the house: its models through `dispatcher`, and services outside through `post`."""
    plans = Plans(build_plans(config.models, config.providers))
    judge = RouteJudge(plans.get, dispatcher, dialects["openai"], aftermath, cost=target_cost, crashed=crashed)
    return msgspec.structs.replace(
        guardrails.build.tools_alone(),
        judge=judge,
        post=post,
        clock=clock,
        encode=embed.encode if embed is not None else None,
        encoder_id=embed.id if embed is not None else "",
        secret=secret,
    )


def router(config: Config, base: Path, encoders: Encoders, say: Callable[[str], None]) -> Routers:
    """What chooses models, its intents learned."""
    return routing.build.build(
        {name: route.planning() for name, route in config.all_routes().items()},
        plans=build_plans(config.models, config.providers),
        cost=cost_usd,
        embed=encoders.meaning,
        budget=encoders.budget,
        base=base,
        revisions=revisions(config, base),
        heads=heads_folder(config),
        progress=say,
    )


def stages(
    config: Config,
    dialects: Mapping[str, Dialect],
    keys: Authenticator,
    limits: Limiter,
    concurrency: Concurrency,
    made: Caches,
    router: Routers,
    tools: Tools,
) -> tuple[Common, dict[str, RouteParts]]:
    """The stages of all routes and those of each, for `pipeline.build` to put in order."""
    routes = config.all_routes()
    own_limits = {name: route.limits for name, route in routes.items() if route.limits is not None}
    common = Common(
        admit=Admit(keys, limits),
        receive=Receive(dialects),
        select=router.select,
        permit=Permit(configuration.served(config), own_limits, limits, concurrency),
    )
    files = Seals(tools.secret, config.providers, config.relay.owner) if config.relay.files else None
    pin = Pin(Pins(tools.secret, config.providers), files)
    parts = {}
    for name, route in routes.items():
        cached = made.routes[name].tap is not None
        guards = guardrails.build.build(config.guardrails, route.guardrails, tools, cached=cached)
        parts[name] = RouteParts(
            mask=guards.mask,
            inspect=guards.inspect,
            verdict=Verdict() if guards.beside else None,
            route=router.routes[name],
            pin=pin,
            exact_cache=made.routes[name].exact,
            semantic_cache=made.routes[name].semantic,
            coalesce=made.routes[name].coalesce,
            canary=guards.canary,
            checks=guards.checks,
            tap=made.routes[name].tap,
            restore=guards.restore,
        )
    return common, parts
