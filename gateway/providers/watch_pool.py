"""One provider's pool: which endpoints it has at the moment, what is watched of each, and which of them drain."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection

from gateway.core.clock import Clock
from gateway.pools.endpoint import Endpoint
from gateway.pools.endpoints import Endpoints
from gateway.providers.discover import MOST_ENDPOINTS, Discovery, Found, LookupFailed
from gateway.providers.watch_endpoint import EndpointWatch, Tell, Ways, jittered
from gateway.providers.watch_get import Get

MOST_MEMBERS = 2 * MOST_ENDPOINTS
"""With those that are leaving."""
LONGEST_STAY = 900.0
"""Seconds after which one that the name has no more is let go of, even if a call is still under way there."""


class Member:
    """An endpoint and its watch. `leaving`: since when its name has it no more, in nanoseconds of the clock."""

    __slots__ = ("drained", "endpoint", "leaving", "watch")

    def __init__(self, endpoint: Endpoint, watch: EndpointWatch) -> None:
        self.endpoint = endpoint
        self.watch = watch
        self.leaving: int | None = None
        self.drained = False
        """By an operator."""


class PoolWatch:
    """Owns `Endpoints.keep` and each `Endpoint.draining` of its pool."""

    def __init__(
        self,
        name: str,
        endpoints: Endpoints,
        ways: Ways,
        get: Get,
        clock: Clock,
        tell: Tell,
        *,
        discovery: Discovery | None = None,
    ) -> None:
        self.name = name
        self.endpoints = endpoints
        self.ways = ways
        self.discovery = discovery
        self.members: dict[str, Member] = {}
        self.missing: Counter[str] = Counter()
        """Names that engines should tell and do not, and at how many endpoints."""
        self.failed_lookups = 0
        self.left_out = 0
        """Addresses beyond the most that a pool takes."""
        self.trouble = ""
        """Why the last look-up gave nothing new; empty when it did."""
        self.looked = False
        """Whether a name server has answered yet."""
        self.forgotten: set[str] = set()
        """Drained ones that are gone: the next that has such an address is another one, and not drained."""
        self._get = get
        self._clock = clock
        self._say = tell
        self._running = False
        self._failed_before = 0
        self._ending: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None
        self._members_of_now()

    # --- which there are

    async def look_up(self) -> None:
        """Once. A name server that fails changes nothing: what was known goes on."""
        assert self.discovery is not None
        try:
            found = await self.discovery.find()
        except LookupFailed as error:
            self.failed_lookups += 1
            if not self.trouble:
                self._tell("endpoints cannot be looked up", name=self.discovery.said.dns, why=str(error))
            self.trouble = str(error)
            return
        if self.trouble:
            self.trouble = ""
            self._tell("endpoints are looked up again", name=self.discovery.said.dns)
        self.take(found)

    def take(self, found: Found) -> None:
        """What a name server said. What is new is there at once; what is gone drains, and is let go of after a while."""
        assert self.discovery is not None
        now, keep = self._clock.now(), self.discovery.said.keep
        if found.left_out and not self.left_out:
            self._tell("more endpoints than a pool takes", left_out=found.left_out)
        if not found.urls and (not self.looked or any(member.leaving is None for member in self.members.values())):
            self._tell("no endpoint is found", name=self.discovery.said.dns)
        self.left_out, self.looked = found.left_out, True
        there = set(found.urls)
        for url, member in self.members.items():
            if url in there:
                member.leaving = None
            elif found.whole and member.leaving is None:
                member.leaving = now
        stay = [url for url, member in self.members.items() if not _over(member, now, keep)]
        self._keep([*dict.fromkeys([*found.urls, *stay])][:MOST_MEMBERS])

    def _keep(self, urls: list[str]) -> None:
        before = set(self.members)
        self.endpoints.keep(urls, even_none=True)
        self._members_of_now()
        come, gone = sorted(set(self.members) - before), sorted(before - set(self.members))
        if come or gone:
            self._tell("endpoints changed", come=_labels(come), gone=_labels(gone), now=len(self.members))

    def _members_of_now(self) -> None:
        now = {endpoint.url: endpoint for endpoint in self.endpoints.all}
        for url in [url for url in self.members if url not in now]:
            member = self.members.pop(url)
            watch = member.watch
            if member.drained:
                self.forgotten.add(url)
            self._failed_before += watch.failed_scrapes
            self._ending.update(tasks := watch.stop())
            for task in tasks:
                task.add_done_callback(self._ending.discard)
        for url, endpoint in now.items():
            if url not in self.members:
                watch = EndpointWatch(endpoint, self.ways, self._get, self._clock, self._tell, self._count_missing)
                self.members[url] = Member(endpoint, watch)
                if self._running:
                    watch.start()
        self._count_missing()
        self._mark()

    # --- which drain

    def drain(self, urls: Collection[str]) -> None:
        """These are drained by an operator, and no others."""
        for url, member in self.members.items():
            if member.drained != (url in urls):
                member.drained = url in urls
                self._tell(
                    "endpoint drained" if member.drained else "endpoint taken back", endpoint=member.endpoint.label
                )
        self._mark()

    def _mark(self) -> None:
        for member in self.members.values():
            member.endpoint.draining = member.drained or member.leaving is not None

    # --- what is told

    def _tell(self, event: str, **facts: object) -> None:
        self._say(event, provider=self.name, **facts)

    def _count_missing(self) -> None:
        before = set(self.missing)
        self.missing = Counter(name for member in self.members.values() for name in member.watch.missing)
        if new := sorted(set(self.missing) - before):
            self._tell("engine metrics are missing", names=new, hint="has the engine renamed them? see metrics.names")
        if before and not self.missing:
            self._tell("engine metrics are all there again")

    @property
    def expected(self) -> frozenset[str]:
        """The names that its engine should tell."""
        return frozenset().union(*(reader.expected for reader in self.ways.readers if not reader.page.instead))

    @property
    def failed_scrapes(self) -> int:
        """Since the start; those of endpoints that are gone are in it."""
        return self._failed_before + sum(member.watch.failed_scrapes for member in self.members.values())

    # --- life

    def start(self) -> None:
        self._running = True
        for member in self.members.values():
            member.watch.start()
        if self.discovery is not None:
            self._task = asyncio.create_task(self._looking(self.discovery.said.every), name="look-up")

    async def stop(self) -> None:
        self._running = False
        tasks = [*self._ending, *(task for member in self.members.values() for task in member.watch.stop())]
        if self._task is not None:
            self._task.cancel()
            tasks.append(self._task)
            self._task = None
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _looking(self, every: float) -> None:
        while True:
            await asyncio.sleep(jittered(every))
            try:
                await self.look_up()
            except Exception as error:  # a mistake of ours must not end the watch
                self._tell("watch failed", kind=type(error).__name__)


def _over(member: Member, now: int, keep: float) -> bool:
    """Whether one that is leaving may go: idle for as long as it is kept, or kept for very long."""
    if member.leaving is None:
        return False
    seconds = (now - member.leaving) / 1e9
    return seconds >= LONGEST_STAY or (seconds >= keep and not member.endpoint.in_flight)


def _labels(urls: list[str]) -> list[str]:
    return [url.partition("://")[2].partition("/")[0] for url in urls[:16]]
