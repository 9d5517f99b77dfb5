"""The composition root: the one place that knows every package, makes each part, and hands it what it needs."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import cast

from litestar import Litestar

from gateway import __version__, parts
from gateway import config as configuration
from gateway.accounting.cost import saved_usd, target_cost
from gateway.admission.admit import ChargeTokens
from gateway.admission.limits import Concurrency
from gateway.config import Config
from gateway.configuring.problems import ConfigError, Problem
from gateway.console.recent import Recent
from gateway.console.records import record_routes
from gateway.console.routes import console_routes
from gateway.core.clock import Clock, SystemClock
from gateway.core.exchange import Exchange
from gateway.core.ports import Recorder, Telling
from gateway.dialects.registry import dialects, upstream_dialects
from gateway.doors import Doors
from gateway.encoders import Learning, encoders
from gateway.handover.desk import Desk
from gateway.http.caches import cache_routes
from gateway.http.door import Door
from gateway.http.edge import Edge, Limits
from gateway.http.endpoints import endpoint_routes
from gateway.http.feedback import feedback_routes
from gateway.http.gemini import GeminiDoor
from gateway.http.health import Readiness, health_routes
from gateway.http.moderations import moderation_routes
from gateway.http.protocol import Bounds
from gateway.http.relays import relay_routes
from gateway.http.routes import Handle, error_handlers, exchange_handles, exchange_routes, model_routes
from gateway.http.server import DrainingServer, ServerLimits, make_server
from gateway.http.told import ToldForm
from gateway.http.tool_caches import tool_cache_routes
from gateway.pipeline.aftermath import Aftermath
from gateway.pipeline.build import Pipeline
from gateway.pipeline.build import build as build_pipeline
from gateway.pipeline.dispatch import Dispatcher
from gateway.pipeline.spine import Spine
from gateway.providers.build import build as build_upstreams
from gateway.providers.catalog import kind_of
from gateway.providers.config import InvalidConfig
from gateway.providers.http_client import HttpClient
from gateway.providers.post import Poster
from gateway.ratings import ratings, remembered
from gateway.relays import relayed
from gateway.status import LABELS, Status
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
        say: Callable[[str], None] = lambda _line: None,
    ) -> None:
        """`base`: where relative paths start; `say` is told of slow steps.

        Raises `ConfigError` for what only shows when the parts are made.
        """
        check_origin()
        self.config = config
        self._base = base
        self._say = say
        self._host = host or config.server.host
        self._port = config.server.port if port is None else port
        self._clock = clock or SystemClock()
        self.logger = logger or logs.setup(config.telemetry.log)
        self._secret = parts.secret_of(config)
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
        self.app = self._front()

    # --- making the parts

    def _assemble(self, recorders: Sequence[Recorder]) -> None:
        config = self.config
        self._http = HttpClient()
        self.upstreams = build_upstreams(config.providers, upstream_dialects(), self._http, clock=self._clock)
        self.encoders = encoders(config, self.upstreams, self._dialects, self._clock)
        self.caches = parts.caches(config, self._secret, self._clock, self.encoders, self._base)
        router = parts.router(config, self._base, self.encoders, self._say)
        self.series = parts.series(config, self._clock, self.caches, router.intents)
        self.pools = parts.pools(config, self.upstreams, self.caches, self._clock, self.logger)
        keys = parts.authenticator(config, self._base, self._host, self._clock, self._keys_failed)
        limiter = parts.limiter(self.caches, self._clock)
        rated = remembered(self.caches, config.feedback.remember)
        self.aftermath = self._recorded([ChargeTokens(limiter), rated], recorders)
        concurrency = Concurrency()
        post = Poster(self._http)
        self.desk = Desk(config.handoffs, post, lost=self._handover_lost)
        dispatcher = Dispatcher(self.upstreams)
        self.shadows = parts.shadows(config, dispatcher, self.aftermath, self._crashed)
        tools = parts.tools(
            config,
            self._dialects,
            dispatcher,
            self.aftermath,
            post,
            self._clock,
            self._crashed,
            self.encoders.local,
            self._secret,
        )
        common, routes = parts.stages(config, self._dialects, keys, limiter, concurrency, self.caches, router, tools)
        self.spine = self._spine(build_pipeline(common, routes), dispatcher, self._dialects)
        self._relaying = self._spine(*relayed(config, self._secret, dispatcher, self._dialects, common, routes))
        openai, nobody = self._dialects["openai"], Dispatcher({})  # no model is called
        moderations = parts.moderations(keys, limiter, concurrency, self.encoders.local)
        self._moderating = self._spine(moderations, nobody, {"openai": ToldForm(openai)})
        tooling = parts.tool_caching(keys, limiter, concurrency, self.caches)
        self._tooling = self._spine(tooling, nobody, {"openai": ToldForm(openai)})
        self.status = Status(
            self.spine,
            self.aftermath,
            self.caches,
            limiter,
            self.pools,
            self.traces,
            self.desk,
            tools.stats,
            self.encoders.remote,
            dispatcher.gates,
            self.shadows,
        )
        self._learning = Learning(router.late)
        self._doors = Doors(keys, configuration.served(config))
        self._ratings = ratings(
            rated, self._doors, limiter, self.caches, self.aftermath, self.metrics, self.recent, self.logger
        )

    def _spine(self, pipeline: Pipeline, dispatcher: Dispatcher, dialects: Mapping[str, Telling]) -> Spine:
        return Spine(
            pipeline,
            dispatcher,
            dialects,
            self.aftermath,
            cost=target_cost,
            saved=saved_usd,
            crashed=self._crashed,
            handed=self.desk.hand_over,
            keepalive=self.config.server.keepalive,
        )

    def _recorded(self, shared: Sequence[Recorder], more: Sequence[Recorder]) -> Aftermath:
        """`shared`: what is kept in Redis, where there is one."""
        own: list[Recorder] = [logs.LogLine(self.logger, self._pseudonyms), self.metrics, self.recent, self.series]
        own += [self.traces] if self.traces else []
        return Aftermath(
            own if self.config.redis else [*own, *shared],
            waiting=[*shared, *more] if self.config.redis else more,
            crashed=lambda name, error: self.logger.error("recorder failed", recorder=name, kind=type(error).__name__),
        )

    def _crashed(self, exchange: Exchange, error: BaseException) -> None:
        logs.crash(self.logger, exchange, error)

    def _keys_failed(self, message: str) -> None:
        self.logger.error("key file", problem=message)

    def _handover_lost(self, id: str, team: str, why: str) -> None:
        self.logger.error("hand-over lost", id=id, team=team, why=why)

    def _traces(self) -> Traces | None:
        told = self.config.telemetry
        if not told.otlp:
            return None
        types = {name: kind_of(provider.type) for name, provider in self.config.providers.items()}
        return to_otlp(told.otlp, told.service, __version__, self._pseudonyms, types, self._collector_state)

    def _collector_state(self, well: bool) -> None:
        if well:
            self.logger.info("collector answers again")
        else:
            self.logger.warning("collector out of reach", waiting="spans are kept while there is room")

    # --- HTTP

    def _front(self) -> Door:
        server, told = self.config.server, self.config.telemetry
        limits = Limits(server.max_body, server.body_timeout, server.timeout)
        edge = Edge(self.spine, self._dialects, limits, self._clock, sample=told.sample)
        moderating = Edge(self._moderating, self._dialects, limits, self._clock, sample=told.sample)
        tooling = Edge(self._tooling, self._dialects, limits, self._clock, sample=told.sample)
        relaying = Edge(self._relaying, self._dialects, limits, self._clock, sample=told.sample)
        self.metrics.watch(self.status.readings, LABELS)
        page = self.metrics.page if told.prometheus else None
        openai, reject = self._dialects["openai"], self.metrics.reject
        exchanges = exchange_handles(edge, self._dialects, reject)
        app = Litestar(
            route_handlers=[
                *exchange_routes(exchanges),
                *moderation_routes(moderating, openai, reject),
                *tool_cache_routes(tooling, openai, self.caches.tools, reject),
                *feedback_routes(self._ratings, reject),
                *relay_routes(relaying, openai, server.max_upload, reject),
                *model_routes(self._doors.visible, self._dialects, self._started, self.metrics.reject),
                *health_routes(
                    self.readiness, self.status.degraded, page, configuration.schema_bytes, self.pools.waiting
                ),
                *console_routes(self.recent, self.series, self._doors.may_watch),
                *record_routes(self.recent, self._doors.may_watch),
                *cache_routes(self.caches, self._doors.may_watch),
                *endpoint_routes(self.pools, self._doors.may_watch),
            ],
            exception_handlers=error_handlers(self._dialects, self.metrics.reject),
            openapi_config=None,
            logging_config=None,
            on_startup=[self.start],
            on_shutdown=[self.stop],
        )
        return Door(exchanges, GeminiDoor(cast(Handle, app), edge, self._dialects["gemini"], reject))

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

    # --- running

    async def start(self) -> None:
        await self.caches.start()
        await self.pools.start()
        self._learning.start()
        await self.desk.start()
        await self.aftermath.start()

    async def stop(self) -> None:
        """Records what is queued, then lets go of everything."""
        await self._learning.close()
        await self.shadows.close()
        await self.aftermath.close()
        await self.desk.close()
        await self.pools.stop()
        await self.caches.close()
        if self.encoders.remote is not None:
            self.encoders.remote.close()
        await self._http.aclose()
        if self.traces is not None:
            await asyncio.to_thread(self.traces.close)
