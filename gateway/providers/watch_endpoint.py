"""Watches one endpoint: asks whether it is well, and reads what its engine tells of its load.

Both only ever write `healthy` and `reading`. What we ourselves have under way there is nobody's to touch but the calls':
a router whose health checks set its counters to zero sent every burst to the replica that had just been probed.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from gateway.core.clock import Clock
from gateway.pools.endpoint import Endpoint
from gateway.pools.reading import STALE_AFTER, Reading
from gateway.providers.engine import Field, Health
from gateway.providers.scrape import Unreadable
from gateway.providers.scrape_reading import PageReader, Told
from gateway.providers.watch_config import HealthConfig, MetricsConfig
from gateway.providers.watch_get import Get, Unreachable, page_url

RARELY = 30.0
"""Seconds between two looks at a page that hardly changes."""
JITTER = 0.2
"""Share by which a wait is longer or shorter, so that gateways do not all ask at once."""

Tell = Callable[..., None]
"""(event, **facts): one line of the log, only when something is different from before."""


class Ways(NamedTuple):
    """How the endpoints of one pool are watched."""

    health: HealthConfig | None
    page: Health | None
    metrics: MetricsConfig | None
    readers: Sequence[PageReader]


class EndpointWatch:
    def __init__(
        self, endpoint: Endpoint, ways: Ways, get: Get, clock: Clock, tell: Tell, changed: Callable[[], None]
    ) -> None:
        """`changed`: called when other names are missing than before."""
        self.endpoint = endpoint
        self.missing: frozenset[str] = frozenset()
        """Names that its engine should tell and does not."""
        self.failed_scrapes = 0
        self.trouble = ""
        """What is wrong with its metrics, in words; empty when nothing is."""
        self.ill = ""
        """Why it counts as ill."""
        self._ways = ways
        self._get = get
        self._clock = clock
        self._tell = tell
        self._changed = changed
        self._failures = 0
        self._was_gone = False
        self._seen = False
        """Whether it ever answered."""
        self._tells_start = False
        self._since: float | None = None
        """When it started at the latest, as far as we saw: first seen, its counters fell, or it was away."""
        self._rare: dict[int, tuple[int, dict[Field, Any], frozenset[str]]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    # --- health

    async def probe(self) -> None:
        """Once. Well after one good answer; ill after several bad ones, or one by which the engine itself says so."""
        health, page = self._ways.health, self._ways.page
        assert health is not None
        path = health.path or (page.path if page else "/")
        url = page_url(self.endpoint.url, path, page.port if page and health.path is None else None)
        loading = page.loading if page else ()
        try:
            status, _ = await self._get(url, seconds=health.timeout)
        except Unreachable as error:
            self._bad(str(error), health.failures, gone=error.gone)
        else:
            if status in loading:
                self._bad(f"it says that it is not ready (HTTP {status})", 1, gone=True)
            elif status >= 500:
                self._bad(f"its health page answered HTTP {status}", health.failures)
            else:  # below 500 somebody is there, even if the page is not
                self._good()

    def _bad(self, why: str, limit: int, *, gone: bool = False) -> None:
        """One that never answered and cannot be connected to has not come up yet: that needs no second look."""
        self._failures += 1
        limit = 1 if gone and not self._seen else limit
        self._was_gone = self._was_gone or gone
        if self._failures >= limit:
            if self.endpoint.healthy:
                self.endpoint.healthy = False
                self._tell("endpoint is ill", endpoint=self.endpoint.label, why=why)
            self.ill = why

    def _good(self) -> None:
        self._failures = 0
        if not self._seen and self._ways.metrics is None:
            self._restarted()
        self._seen = True
        gone, self._was_gone = self._was_gone, False
        if not self.endpoint.healthy:
            self.endpoint.healthy = True
            self.ill = ""
            self._tell("endpoint is well again", endpoint=self.endpoint.label)
            if gone:
                self._restarted()

    def _restarted(self) -> None:
        """It is new here, or was away, so it has nothing cached. An engine that tells its start says so itself."""
        self._since = self._clock.wall() / 1e9
        reading = self.endpoint.reading or Reading(at=self._clock.now())
        if reading.started is None or not self._tells_start:
            self.endpoint.reading = msgspec.structs.replace(reading, started=self._since)

    # --- metrics

    async def scrape(self) -> None:
        """Once. A page that cannot be had leaves the last reading, which grows stale."""
        fields: dict[Field, Any] = {}
        missing: set[str] = set()
        before_was_there = True
        try:
            for number, reader in enumerate(self._ways.readers):
                if reader.page.instead and before_was_there:
                    continue
                found, absent, before_was_there = await self._page(number, reader)
                fields = {**found, **fields}
                if not reader.page.instead:
                    missing |= absent
        except (Unreachable, Unreadable) as error:
            self._scrape_failed(str(error))
            return
        self._scraped(fields, frozenset(missing))

    async def _page(self, number: int, reader: PageReader) -> tuple[dict[Field, Any], frozenset[str], bool]:
        """Its fields, the names that are missing, and whether there is such a page."""
        now, page = self._clock.now(), reader.page
        kept = self._rare.get(number)
        if kept is not None and now - kept[0] < RARELY * 1e9:
            return kept[1], kept[2], True
        assert self._ways.metrics is not None
        url = page_url(self.endpoint.url, page.path, page.port)
        status, body = await self._get(url, seconds=self._ways.metrics.timeout)
        if status >= 500 and status != 501:
            raise Unreachable(f"{page.path} answered HTTP {status}")
        if status != 200:  # llama.cpp without --metrics says 501, SGLang without --enable-metrics 404
            told = Told({}, reader.expected)
        else:
            told = reader.read(body)
        fields, missing = told
        if page.rarely:
            self._rare[number] = (now, fields, missing)
        return fields, missing, status == 200

    def _scraped(self, fields: dict[Field, Any], missing: frozenset[str]) -> None:
        endpoint, before = self.endpoint, self.endpoint.reading
        self._tells_start = "started" in fields
        if not self._tells_start:
            fell = before is not None and _fell(before, fields)
            if fell:
                self._rare.clear()
                self._tell("endpoint has started anew", endpoint=endpoint.label, seen_by="its counters fell")
            if fell or self._since is None:
                self._since = self._clock.wall() / 1e9
            fields["started"] = self._since
        elif before is not None and before.started is not None and fields["started"] > before.started:
            self._rare.clear()
            self._tell("endpoint has started anew", endpoint=endpoint.label, seen_by="its start time")
        endpoint.reading = Reading(at=self._clock.now(), **fields)
        if self.trouble:
            self.trouble = ""
            self._tell("metrics are read again", endpoint=endpoint.label)
        if missing != self.missing:
            self.missing = missing
            self._changed()

    def _scrape_failed(self, why: str) -> None:
        """Told once it matters: when the reading has gone stale, or there never was one."""
        self.failed_scrapes += 1
        reading = self.endpoint.reading
        if not self.trouble and (reading is None or reading.stale(self._clock.now())):
            self.trouble = why
            self._tell("metrics cannot be read", endpoint=self.endpoint.label, why=why, stale_after=STALE_AFTER)

    async def once(self) -> None:
        """All that is watched, one time: so one failure says it."""
        if self._ways.health is not None:
            self._failures = self._ways.health.failures
            await self.probe()
        if self._ways.metrics is not None:
            await self.scrape()

    # --- life

    def start(self) -> None:
        health, metrics = self._ways.health, self._ways.metrics
        if health is not None:
            self._tasks.append(asyncio.create_task(self._again(self.probe, health.every), name="probe"))
        if metrics is not None:
            self._tasks.append(asyncio.create_task(self._again(self.scrape, metrics.every), name="scrape"))

    def stop(self) -> list[asyncio.Task[None]]:
        """Cancels; whoever stops the pool waits for what is given."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        return tasks

    async def _again(self, look: Callable[[], Awaitable[None]], every: float) -> None:
        while True:
            try:
                await look()
            except Exception as error:  # a mistake of ours must not end the watch
                self._tell("watch failed", endpoint=self.endpoint.label, kind=type(error).__name__)
            await asyncio.sleep(jittered(every))


def jittered(seconds: float) -> float:
    return seconds * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - spreads load, guards nothing


def _fell(before: Reading, fields: dict[Field, Any]) -> bool:
    """Counters only fall when their process is another one."""
    for name in ("prompt_tokens", "cached_tokens"):
        was, now = getattr(before, name), fields.get(name)
        if was is not None and now is not None and now < was:
            return True
    return False
