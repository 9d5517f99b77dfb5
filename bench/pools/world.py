"""Replicas in simulated time: a queue, prompts read one at a time, answers written side by side, a cache of prompts.

A replica reads at `Engine.read` tokens a second, one prompt after the other; what it has of a prompt in its cache it
does not read again. Tokens of answers come at `Engine.write` a second for each of at most `slots` calls, and slow the
reading down by as much as they are many. Calls beyond the slots wait. The cache holds blocks, the least recently used
goes first. That is what continuous batching with chunked prefill looks like from outside; it is no model of a GPU.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Protocol

from bench.pools.jobs import BLOCK, Job


@dataclass(frozen=True, kw_only=True)
class Engine:
    """What one replica can do."""

    read: float = 8000.0
    """Tokens of prompts a second, with nothing else to do."""
    write: float = 60.0
    """Tokens of one answer a second."""
    slots: int = 32
    blocks: int = 600
    """Of its cache: about 38,000 tokens."""
    drag: float = 0.01
    """How much each answer under way slows the reading."""


class Policy(Protocol):
    """Places calls. Told of the same things that a gateway sees, and of nothing else."""

    name: str

    def pick(self, job: Job, now: float, gateway: int) -> int: ...

    def answered(self, job: Job, now: float, gateway: int) -> None:
        """Its first token came; `job.cached` is what the engine says it had."""
        ...

    def ended(self, job: Job, now: float, gateway: int, *, ok: bool) -> None: ...

    def scraped(self, replicas: Sequence[Replica], now: float) -> None:
        """Once a second, while metrics can be had."""
        ...


class Replica:
    """One engine. `up` is False while it is crashed."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.cache: OrderedDict[int, None] = OrderedDict()
        self.waiting: deque[Job] = deque()
        self.reading: Job | None = None
        self.writing: set[Job] = set()
        self.up = True
        self.lives = 0
        """How often it was started again."""
        self.read = 0
        """Tokens of prompts it had to read."""

    @property
    def running(self) -> int:
        return len(self.writing) + (self.reading is not None)

    def known(self, job: Job) -> int:
        """Blocks of its prompt that are here, from the first on."""
        found = 0
        for block in job.blocks:
            if block not in self.cache:
                break
            found += 1
        return found

    def keep(self, job: Job) -> None:
        cache = self.cache
        for block in reversed(job.blocks):  # so that the beginnings are the last to go
            cache[block] = None
            cache.move_to_end(block)
        while len(cache) > self.engine.blocks:
            cache.popitem(last=False)

    def lose(self) -> list[Job]:
        """Crashes: gives what it had under way."""
        lost = [*self.waiting, *self.writing, *([self.reading] if self.reading else [])]
        self.waiting.clear()
        self.writing.clear()
        self.reading = None
        self.cache.clear()
        self.up = False
        self.lives += 1
        return lost


@dataclass(frozen=True, kw_only=True)
class Happening:
    """Something that befalls the pool at `at`."""

    at: float
    does: Callable[[World], None]


class World:
    """Runs the jobs of a workload through a policy. `gateways` of them take turns, as behind a plain load balancer."""

    def __init__(
        self,
        jobs: Sequence[Job],
        policy: Policy,
        *,
        replicas: int = 8,
        engine: Engine | None = None,
        gateways: int = 1,
        happenings: Sequence[Happening] = (),
    ) -> None:
        self.jobs = jobs
        self.policy = policy
        self.replicas = [Replica(engine or Engine()) for _ in range(replicas)]
        self.gateways = gateways
        self.metrics = True
        """Whether the engines' metrics can be read."""
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._of: dict[Job, int] = {}
        """The gateway of each call under way."""
        self.now = 0.0
        for at, job in enumerate(jobs):
            self._at(job.at, lambda job=job, gateway=at % gateways: self._ask(job, gateway))  # type: ignore[misc]
        for happening in happenings:
            self._at(happening.at, lambda happening=happening: happening.does(self))  # type: ignore[misc]
        self._left = len(jobs)
        self._scrape()

    def run(self) -> None:
        while self._events and self._left:
            self.now, _, does = heapq.heappop(self._events)
            does()

    def crash(self, which: int) -> None:
        for job in self.replicas[which].lose():
            self._fail(job)

    def start(self, which: int) -> None:
        self.replicas[which].up = True

    # --- a call

    def _ask(self, job: Job, gateway: int, tries: int = 0) -> None:
        job.replica = self.policy.pick(job, self.now, gateway)
        replica = self.replicas[job.replica]
        if not replica.up:  # refused at once: another is asked, as a gateway would
            self.policy.ended(job, self.now, gateway, ok=False)
            if tries < 3:
                self._ask(job, gateway, tries + 1)
            else:
                job.failed = True
                self._left -= 1
            return
        self._of[job] = gateway
        replica.waiting.append(job)
        self._next(replica)

    def _next(self, replica: Replica) -> None:
        if replica.reading is not None or not replica.waiting or len(replica.writing) >= replica.engine.slots:
            return
        job = replica.reading = replica.waiting.popleft()
        known = min(replica.known(job), len(job.blocks) - 1)  # the last block is always read: it gives the first token
        job.cached = known * BLOCK
        unread = job.tokens - job.cached
        replica.read += unread
        rate = replica.engine.read / (1 + replica.engine.drag * len(replica.writing))
        self._at(self.now + 0.01 + unread / rate, self._if_alive(replica, lambda: self._read(replica, job)))

    def _read(self, replica: Replica, job: Job) -> None:
        replica.reading = None
        replica.keep(job)
        replica.writing.add(job)
        job.first = self.now
        self.policy.answered(job, self.now, self._of[job])
        done = self.now + job.answer / replica.engine.write
        self._at(done, self._if_alive(replica, lambda: self._written(replica, job)))
        self._next(replica)

    def _written(self, replica: Replica, job: Job) -> None:
        replica.writing.discard(job)
        job.ended = self.now
        self._left -= 1
        self.policy.ended(job, self.now, self._of.pop(job), ok=True)
        self._next(replica)

    def _fail(self, job: Job) -> None:
        """Its replica is gone. What nobody has seen yet is asked again; a stream that broke is broken."""
        gateway = self._of.pop(job)
        self.policy.ended(job, self.now, gateway, ok=False)
        if job.first < 0:
            self._ask(job, gateway)
        else:
            job.failed = True
            self._left -= 1

    # --- time

    def _at(self, when: float, does: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._order), does))

    def _if_alive(self, replica: Replica, does: Callable[[], None]) -> Callable[[], None]:
        life = replica.lives

        def then() -> None:
            if replica.lives == life:
                does()

        return then

    def _scrape(self) -> None:
        if self.metrics:
            self.policy.scraped(self.replicas, self.now)
        self._at(self.now + 1.0, self._scrape)
