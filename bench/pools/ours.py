"""Tidegate's own rule, the code that serves, on the simulation's clock: one pool for each gateway."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import xxhash

from bench.pools.jobs import BLOCK, Job
from bench.pools.rules import Make
from bench.pools.world import Replica
from gateway.core.clock import ManualClock
from gateway.pools.asked import Asked
from gateway.pools.balance import Balance
from gateway.pools.chain import BLOCK as BLOCK_BYTES
from gateway.pools.chain import Prefix
from gateway.pools.endpoints import Endpoints
from gateway.pools.lease import Lease
from gateway.pools.reading import Reading
from gateway.pools.sharing import EVERY


class Clock(ManualClock):
    """Set rather than moved."""

    def at(self, seconds: float) -> None:
        self._now = int(seconds * 1e9)


class Ours:
    """`balance: prefix`, or another of ours. `redis`: the gateways tell each other what they do, as they do over Redis."""

    def __init__(self, balance: Balance, replicas: int, rng: random.Random, *, redis: bool = False) -> None:
        self.name = f"Tidegate, {balance}" + (", Redis" if redis else "")
        self._balance = balance
        self._redis = redis
        self._told = 0.0
        self._clock = Clock()
        self._urls = [f"http://replica-{at}" for at in range(replicas)]
        self._rng = rng
        self._pools: dict[int, Endpoints] = {}
        self._leases: dict[Job, Lease] = {}

    @property
    def pools(self) -> list[Endpoints]:
        """One for each gateway that was asked."""
        return list(self._pools.values())

    def pick(self, job: Job, now: float, gateway: int) -> int:
        self._clock.at(now)
        pool = self._pools.get(gateway)
        if pool is None:
            pool = self._pools[gateway] = Endpoints(self._urls, self._balance, self._clock, rng=self._rng)
            if self._redis:
                pool.share(gateway + 1)
        self._tell(now)
        tried = {self._leases.pop(job).endpoint} if job in self._leases else set()
        lease = pool.lease(_asked(job), tried)
        assert lease is not None, "there is always another one"
        self._leases[job] = lease
        return self._urls.index(lease.endpoint.url)

    def _tell(self, now: float) -> None:
        if not self._redis or now < self._told + EVERY:
            return
        self._told = now
        told = [(pool, news) for pool in self.pools if (news := pool.news()) is not None]
        for teller, news in told:
            for pool in self.pools:
                if pool is not teller:
                    pool.hear(news)

    def answered(self, job: Job, now: float, gateway: int) -> None:
        self._clock.at(now)
        lease = self._leases[job]
        lease.answered()
        lease.usage(job.tokens, job.cached)

    def ended(self, job: Job, now: float, gateway: int, *, ok: bool) -> None:
        self._clock.at(now)
        self._leases[job].end(ok)
        if ok or job.first >= 0:
            del self._leases[job]

    def scraped(self, replicas: Sequence[Replica], now: float) -> None:
        self._clock.at(now)
        for at, replica in enumerate(replicas):
            for pool in self._pools.values():
                endpoint = pool.all[at]
                endpoint.healthy = replica.up
                if replica.up:
                    endpoint.reading = _reading(replica, self._clock.now())


def _reading(replica: Replica, now: int) -> Reading:
    return Reading(
        at=now,
        waiting=float(len(replica.waiting)),
        running=float(replica.running),
        kv=min(1.0, 0.02 * replica.running),
        blocks=replica.engine.blocks,
        block_tokens=BLOCK,
        slots=replica.engine.slots,
        started=float(replica.lives * 1000),
    )


def _asked(job: Job) -> Asked:
    """Hashing the text is left out on both sides: the baselines get their blocks as numbers, too."""
    blocks = job.blocks
    head = xxhash.xxh3_64_intdigest(job.session.encode())
    return Asked(prefix=Prefix(blocks, len(blocks) * BLOCK_BYTES, head, blocks[-1]))


def _make(balance: Balance, redis: bool) -> Make:
    return lambda replicas, rng: Ours(balance, replicas, rng, redis=redis)


OURS: Mapping[str, Make] = {"Tidegate, prefix": _make("prefix", False)}
WITH_REDIS: Mapping[str, Make] = {"Tidegate, prefix, Redis": _make("prefix", True)}
"""Where there are several gateways; alone, there is nothing to tell."""
