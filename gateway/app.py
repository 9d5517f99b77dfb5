"""The composition root: the one place that knows every package, makes each part, and hands it what it needs."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from litestar import Litestar

import cache.build
import guardrails.build
import routing.build
from gateway import __version__
from gateway import config as configuration
from gateway.accounting.cost import exchange_cost, saved_usd
from gateway.admission.admit import Admit, Authenticator, ChargeTokens, Permit, may_use
from gateway.admission.keyring import Keyring, OpenAccess
from gateway.admission.limits import MemoryLimiter, RedisLimiter
from gateway.config import Config
from gateway.configuring.problems import ConfigError, Problem
from gateway.console.recent import Recent
from gateway.console.routes import console_routes
from gateway.core.clock import Clock, SystemClock
from gateway.core.errors import GatewayFault
from gateway.core.ports import Embed, Limiter, Recorder
from gateway.dialects.registry import dialects
from gateway.http import headers
from gateway.http.asgi import Headers
from gateway.http.edge import Edge, Limits
from gateway.http.health import Readiness, health_routes
from gateway.http.protocol import Bounds
from gateway.http.routes import error_handlers, exchange_routes, model_routes
from gateway.http.server import DrainingServer, ServerLimits, make_server
from gateway.pipeline.aftermath import Aftermath
from gateway.pipeline.build import Common, Pipeline, RouteParts
from gateway.pipeline.build import build as build_pipeline
from gateway.pipeline.dispatch import Dispatcher
from gateway.pipeline.receive import Receive
from gateway.pipeline.spine import Spine
from gateway.providers.build import build as build_upstreams
from gateway.providers.build import plans as build_plans
from gateway.providers.config import InvalidConfig
from gateway.providers.http_client import HttpClient
from gateway.telemetry import logs
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.redact import Pseudonyms
from gateway.telemetry.traces import Traces, to_otlp

PACKAGES = ("gateway", "guardrails", "routing", "cache")


def check_origin() -> None:
    """The four import roots have common names. Raises RuntimeError if another package's was found instead of ours."""
    homes = {name: Path(sys.modules[name].__file__ or "").resolve().parent.parent for name in PACKAGES}
    if len(set(homes.values())) > 1:
        found = ", ".join(f"{name} from {home}" for name, home in homes.items())
        raise RuntimeError(
            f"Tidegate's packages were loaded from different places ({found}). Another installed package owns one of these "
            "names; install Tidegate into an environment of its own."
        )


class Gateway:
    """One process's gateway: parts made by `__init__`, running between `start` and `stop`."""

    def __init__(
        self,
        config: Config,
        base: Path,
        *,
        host: str | None = None,
        port: int | None = None,
        clock: Clock | None = None,
        logger: logs.Logger | None = None,
        recorders: Sequence[Recorder] = (),
    ) -> None:
        """`base`: where relative paths start. Raises `ConfigError` for what only shows when the parts are made."""
        check_origin()
        self.config = config
        self._base = base
        self._host = host or config.server.host
        self._port = config.server.port if port is None else port
        self._clock = clock or SystemClock()
        self.logger = logger or logs.setup(config.telemetry.log)
        self._secret = _secret(config)
        self._pseudonyms = Pseudonyms(self._secret)
        self.readiness = Readiness()
        self.metrics = Metrics()
        self.recent = Recent()
        self.traces = self._traces()
        self._dialects = dialects()
        self._started = int(self._clock.wall() // 1_000_000_000)
        try:
            self._assemble(recorders)
        except InvalidConfig as error:
            raise ConfigError([Problem(*pair) for pair in error.problems]) from None
        except ValueError as error:
            path, _, message = str(error).partition(": ")
            raise ConfigError([Problem(path, message) if message else Problem("", path)]) from error
        self.app = self._litestar()

    # --- making the parts

    def _assemble(self, recorders: Sequence[Recorder]) -> None:
        config = self.config
        self._http = HttpClient()
        self.upstreams = build_upstreams(config.providers, self._dialects, self._http, clock=self._clock)
        self.embed = self._embedder()
        self.caches = cache.build.build(
            {name: route.cache for name, route in config.all_routes().items()},
            secret=self._secret,
            clock=self._clock,
            redis=config.redis,
            qdrant=config.qdrant,
            embed=self.embed,
        )
        self._keys = self._authenticator()
        self._limiter = self._limits()
        self.aftermath = Aftermath(
            [
                logs.LogLine(self.logger, self._pseudonyms),
                self.metrics,
                ChargeTokens(self._limiter),
                *([self.traces] if self.traces else []),
                self.recent,
                *recorders,
            ],
            crashed=lambda name, error: self.logger.error("recorder failed", recorder=name, kind=type(error).__name__),
        )
        self.spine = Spine(
            self._pipeline(),
            Dispatcher(self.upstreams),
            self._dialects,
            self.aftermath,
            cost=exchange_cost,
            saved=saved_usd,
            crashed=lambda exchange, error: logs.crash(self.logger, exchange, error),
        )

    def _pipeline(self) -> Pipeline:
        config = self.config
        routes = config.all_routes()
        limits = {name: route.limits for name, route in routes.items() if route.limits is not None}
        router = routing.build.build(
            {name: (route.match, route.intents) for name, route in routes.items()},
            plans=build_plans(config.models, config.providers),
            embed=self.embed,
            base=self._base,
            revisions=configuration.revisions(config),
        )
        common = Common(
            admit=Admit(self._keys, self._limiter),
            receive=Receive(self._dialects),
            select=router.select,
            permit=Permit(configuration.served(config), limits, self._limiter),
        )
        parts = {}
        for name, route in routes.items():
            guards = guardrails.build.build(config.guardrails, route.guardrails)
            caches = self.caches.routes[name]
            parts[name] = RouteParts(
                screen=guards.screen,
                route=router.routes[name],
                exact_cache=caches.exact,
                semantic_cache=caches.semantic,
                checks=guards.checks,
                tap=caches.tap,
                restore=guards.restore,
            )
        return build_pipeline(common, parts)

    def _embedder(self) -> Embed | None:
        """The encoder, loaded only when some route needs it. Raises ValueError saying how to build a missing one."""
        if not configuration.needs_embedding(self.config):
            return None
        from gateway.embedding.files import ModelMissing, models_dir
        from gateway.embedding.minilm import MiniLM

        try:
            return MiniLM(models_dir())
        except ModelMissing as missing:
            raise ValueError(str(missing)) from None

    def _authenticator(self) -> Authenticator:
        keys = self.config.access.keys
        if keys is not None:
            return Keyring(
                self._base / keys, self._clock, failed=lambda message: self.logger.error("key file", problem=message)
            )
        if self._host not in configuration.LOOPBACK:
            raise ValueError(f"access.keys: missing, and {self._host} is not a loopback address")
        return OpenAccess()

    def _limits(self) -> Limiter:
        if self.caches.redis is not None:
            return RedisLimiter(self.caches.redis.call, self._clock)
        return MemoryLimiter(self._clock)

    def _traces(self) -> Traces | None:
        told = self.config.telemetry
        return to_otlp(told.otlp, told.service, __version__, self._pseudonyms) if told.otlp else None

    # --- HTTP

    def _litestar(self) -> Litestar:
        server, told = self.config.server, self.config.telemetry
        edge = Edge(
            self.spine,
            self._dialects,
            Limits(server.max_body, server.body_timeout, server.timeout),
            self._clock,
            sample=told.sample,
        )
        self.metrics.watch(self._readings, _READING_LABELS)
        page = self.metrics.page if told.prometheus else None
        return Litestar(
            route_handlers=[
                *exchange_routes(edge, self._dialects, self.metrics.reject),
                *model_routes(self._visible, self._dialects, self._started, self.metrics.reject),
                *health_routes(self.readiness, self.degraded, page, configuration.schema_bytes),
                *console_routes(self.recent, self._may_watch),
            ],
            exception_handlers=error_handlers(self._dialects, self.metrics.reject),
            openapi_config=None,
            logging_config=None,
            on_startup=[self.start],
            on_shutdown=[self.stop],
        )

    def server(self, fd: int | None = None, ready: Callable[[str], None] | None = None) -> DrainingServer:
        """A server ready for `serve()`; `ready` is told its URL when it accepts connections."""
        server = self.config.server
        limits = ServerLimits(
            bounds=Bounds(header_seconds=server.header_timeout, stall_seconds=server.write_timeout),
            drain=server.drain,
            notice=server.drain_notice,
        )
        return make_server(
            self.app,
            host=self._host,
            port=self._port,
            readiness=self.readiness,
            limits=limits,
            rejected=self.metrics.reject,
            fd=fd,
            ready=ready,
        )

    def _visible(self, given: Headers) -> list[str]:
        """The names that the caller's key may ask for. Raises `Unauthenticated`."""
        _, credential = headers.decode(given)
        principal = self._keys.authenticate(credential)
        return sorted(name for name in configuration.served(self.config) if may_use(principal, name))

    def _may_watch(self, given: Mapping[str, str]) -> bool:
        """The console is open where access is; else an admin key is needed."""
        _, credential = headers.decode(
            [(name.encode("latin-1"), value.encode("latin-1")) for name, value in given.items()]
        )
        try:
            principal = self._keys.authenticate(credential)
        except GatewayFault:
            return False
        return principal.admin or isinstance(self._keys, OpenAccess)

    # --- running

    async def start(self) -> None:
        await self.caches.start()
        await self.aftermath.start()

    async def stop(self) -> None:
        """Records what is queued, then lets go of everything."""
        await self.aftermath.close()
        await self.caches.close()
        await self._http.aclose()
        if self.traces is not None:
            await asyncio.to_thread(self.traces.close)

    def degraded(self) -> dict[str, str]:
        """What is out of order, from state already known: nothing is asked."""
        out = {}
        for name, stats in self.caches.stats().items():
            if stats.get("breaker_open"):
                out[name] = "out of reach; its breaker is open"
        if getattr(self._limiter, "degraded", False):
            out["limits"] = "counted in this process only: Redis is out of reach"
        return out

    def _readings(self) -> dict[str, dict[str, float]]:
        stats = self.caches.stats()
        return {
            "tidegate_inflight_requests": {"": float(self.spine.inflight)},
            "tidegate_receipts_queued": {"": float(len(self.aftermath))},
            "tidegate_receipts_dropped": {name: float(count) for name, count in self.aftermath.dropped.items()},
            "tidegate_breaker_open": {name: s["breaker_open"] for name, s in stats.items() if "breaker_open" in s},
            "tidegate_cache_entries": {name: s["entries"] for name, s in stats.items() if "entries" in s},
        }


_READING_LABELS = {
    "tidegate_receipts_dropped": "kind",
    "tidegate_breaker_open": "dependency",
    "tidegate_cache_entries": "store",
}


def _secret(config: Config) -> bytes:
    given = config.server.secret.reveal() if config.server.secret else os.environ.get("TIDEGATE_SECRET", "")
    return given.encode() if len(given) >= 16 else secrets.token_bytes(32)
