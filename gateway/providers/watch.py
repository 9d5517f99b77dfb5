"""Every pool of this process, watched between `start` and `stop`; and the operator's hand on their endpoints."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from gateway.core.clock import Clock
from gateway.pools.endpoints import Endpoints
from gateway.providers.auth import auth_headers
from gateway.providers.config import ProviderConfig, profile_of
from gateway.providers.discover import Discovery
from gateway.providers.http_client import HttpClient
from gateway.providers.profile import Profile
from gateway.providers.signing.kinds import KINDS
from gateway.providers.watch_config import health_of, metrics_of, readers
from gateway.providers.watch_drains import Call, Drains
from gateway.providers.watch_endpoint import Tell, Ways, jittered
from gateway.providers.watch_get import LIMITS, HttpGet
from gateway.providers.watch_news import Board, Courier
from gateway.providers.watch_pool import PoolWatch
from gateway.providers.watch_rows import Readings, Row, readings, rows

DRAINS_EVERY = 2.0
"""Seconds between two looks at what other processes' operators said."""
FIRST_LOOK = 6.0
"""Seconds that the start waits for the first answers of name servers, and no longer."""


class UnknownEndpoint(LookupError):
    """No pool of this process has it, or several do. Its message is for the operator."""


class Pools:
    def __init__(
        self,
        providers: Mapping[str, ProviderConfig],
        endpoints: Mapping[str, Endpoints],
        clock: Clock,
        tell: Tell,
        *,
        redis: Call | None = None,
        board: Board | None = None,
        http: HttpClient | None = None,
    ) -> None:
        """`redis`: one command, where drains are shared with other processes. `board`: where they tell each other what they
        have under way."""
        self._http = http or HttpClient(limits=LIMITS)
        self._clock = clock
        self._drains = Drains(redis)
        self._task: asyncio.Task[None] | None = None
        self.courier = Courier(endpoints, board) if board is not None else None
        self._tell = tell
        self.all: Mapping[str, PoolWatch] = {
            name: self._pool(name, config, endpoints[name]) for name, config in providers.items()
        }

    def _pool(self, name: str, config: ProviderConfig, endpoints: Endpoints) -> PoolWatch:
        profile = profile_of(config)
        client = self._http.through(config.proxy.reveal()) if config.proxy else self._http
        discovery = Discovery(config.discover) if config.discover is not None else None
        get = HttpGet(client, _headers(config, profile))
        return PoolWatch(name, endpoints, ways_of(config, profile), get, self._clock, self._tell, discovery=discovery)

    # --- life

    async def start(self) -> None:
        """The first look-ups, then the watch. A name that gives nothing yet does not stop the start."""
        await self._first_looks()
        await self._take_drains()
        for pool in self.all.values():
            pool.start()
        self._task = asyncio.create_task(self._sharing(), name="drains")
        if self.courier is not None:
            self.courier.start()

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        if self.courier is not None:
            await self.courier.stop()
        for pool in self.all.values():
            await pool.stop()
        await self._http.aclose()

    async def _first_looks(self) -> None:
        looks = [asyncio.create_task(pool.look_up()) for pool in self.all.values() if pool.discovery is not None]
        if looks:
            _, late = await asyncio.wait(looks, timeout=FIRST_LOOK)
            for task in late:
                task.cancel()
            await asyncio.gather(*looks, return_exceptions=True)

    async def once(self) -> None:
        """Everything one time, instead of `start`."""
        await self._first_looks()
        members = [member for pool in self.all.values() for member in pool.members.values()]
        await asyncio.gather(*(member.watch.once() for member in members))

    async def _sharing(self) -> None:
        while True:
            await asyncio.sleep(jittered(DRAINS_EVERY))
            try:
                await self._take_drains()
            except Exception as error:  # a mistake of ours must not end the watch
                self._tell("watch failed", kind=type(error).__name__)

    async def _take_drains(self) -> None:
        for pool in self.all.values():
            for url in [*pool.forgotten]:
                pool.forgotten.discard(url)
                await self._drains.set((pool.name, url), False)
        await self._drains.refresh()
        self._apply()

    def _apply(self) -> None:
        for pool in self.all.values():
            pool.drain({url for name, url in self._drains.all if name == pool.name})

    # --- the operator

    async def drain(self, provider: str, endpoint: str, drain: bool) -> tuple[Row, bool]:
        """`endpoint`: a URL as `rows` tells it, or its `host:port`. What it is now, and whether every process that shares
        Redis will know. Raises UnknownEndpoint."""
        pool = self.all.get(provider)
        if pool is None:
            raise UnknownEndpoint(f"There is no provider {provider!r}.")
        wanted = endpoint.rstrip("/")
        urls = [url for url, member in pool.members.items() if wanted in (url, member.endpoint.label)]
        if len(urls) != 1:
            what = "is no endpoint" if not urls else "is more than one endpoint; give the whole URL"
            raise UnknownEndpoint(f"{endpoint!r} {what} of provider {provider!r}.")
        await self._drains.set((provider, urls[0]), drain)
        self._apply()
        row = next(row for row in rows([pool], self._clock) if row.url == urls[0])
        return row, self._drains.shared

    def rows(self) -> list[Row]:
        return rows(self.all.values(), self._clock)

    # --- how they are

    def readings(self) -> Readings:
        failed = self.courier.failed if self.courier is not None else 0
        return readings(self.all.values(), self._clock) | {"tidegate_pool_news_failed_total": {"": float(failed)}}

    def waiting(self) -> str | None:
        """Why no request could be answered at all; None while any provider has an endpoint."""
        if any(pool.members for pool in self.all.values()):
            return None
        names = ", ".join(pool.discovery.said.dns for pool in self.all.values() if pool.discovery is not None)
        return f"no provider has an endpoint yet; looked for at {names}"

    def degraded(self) -> dict[str, str]:
        """Each pool that is not as it should be, and why; the first few reasons of each."""
        out = {}
        for name, pool in self.all.items():
            wrong = _wrong(pool)
            if wrong:
                out[f"pool:{name}"] = "; ".join(wrong)
        return out


def ways_of(config: ProviderConfig, profile: Profile) -> Ways:
    metrics = metrics_of(config, profile)
    return Ways(
        health_of(config, profile),
        profile.engine.health,
        metrics,
        readers(metrics, profile) if metrics else (),
    )


def _headers(config: ProviderConfig, profile: Profile) -> Sequence[tuple[str, str]]:
    credential = () if profile.auth in KINDS else auth_headers(profile.auth, config.api_key)
    return [*profile.headers.items(), *credential]


def _wrong(pool: PoolWatch) -> list[str]:
    wrong = []
    members = pool.members.values()
    if pool.discovery is not None:
        name = pool.discovery.said.dns
        if not members:
            wrong.append(f"no endpoint is found at {name}")
        elif all(member.leaving is not None for member in members):
            wrong.append(f"{name} has no endpoint any more; the last ones known are still asked")
        if pool.trouble:
            wrong.append(f"{name} cannot be looked up: {pool.trouble}")
    ill = [member for member in members if not member.endpoint.healthy]
    if ill:
        wrong.append(f"{len(ill)} of {len(members)} endpoints are ill: {_listed(m.endpoint.label for m in ill)}")
    blind = [member for member in members if member.watch.trouble]
    if blind:
        wrong.append(f"metrics of {_listed(m.endpoint.label for m in blind)} cannot be read; our own counts are used")
    if pool.missing:
        wrong.append(f"engine metrics are missing: {_listed(sorted(pool.missing))}")
    return wrong


def _listed(names: Iterable[str]) -> str:
    found = list(names)
    more = f" and {len(found) - 4} more" if len(found) > 4 else ""
    return ", ".join(found[:4]) + more
