"""Rules that others use, as their documentation tells them, each in few lines: what ours is measured beside.

Every gateway keeps its own counts, as replicas of one router do. They see what was placed, answered and ended by
themselves, and nothing of an engine but its metrics, once a second.
"""

from __future__ import annotations

import random
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Mapping, Sequence

import xxhash

from bench.pools.jobs import Job
from bench.pools.world import Policy, Replica


class Counted:
    """Base of the baselines: calls under way at each replica, for each gateway."""

    name = ""

    def __init__(self, replicas: int, rng: random.Random) -> None:
        self.replicas = range(replicas)
        self.rng = rng
        self.load: dict[int, list[int]] = defaultdict(lambda: [0] * replicas)
        self.turn: dict[int, int] = defaultdict(lambda: rng.randrange(replicas))

    def pick(self, job: Job, now: float, gateway: int) -> int:
        chosen = self.choose(job, self.load[gateway], gateway)
        self.load[gateway][chosen] += 1
        return chosen

    def choose(self, job: Job, load: Sequence[int], gateway: int) -> int:
        raise NotImplementedError

    def answered(self, job: Job, now: float, gateway: int) -> None: ...

    def ended(self, job: Job, now: float, gateway: int, *, ok: bool) -> None:
        self.load[gateway][job.replica] -= 1

    def scraped(self, replicas: Sequence[Replica], now: float) -> None: ...


class RoundRobin(Counted):
    name = "round robin"

    def choose(self, job: Job, load: Sequence[int], gateway: int) -> int:
        self.turn[gateway] = (self.turn[gateway] + 1) % len(self.replicas)
        return self.turn[gateway]


class LeastRequests(Counted):
    name = "least requests"

    def choose(self, job: Job, load: Sequence[int], gateway: int) -> int:
        least = min(load)
        return self.rng.choice([at for at in self.replicas if load[at] == least])


class TwoChoices(Counted):
    """Mitzenmacher's power of two choices."""

    name = "two choices"

    def choose(self, job: Job, load: Sequence[int], gateway: int) -> int:
        return min(self.rng.sample(self.replicas, 2), key=lambda at: load[at])


class Session(Counted):
    """Consistent hashing of the conversation, with bounded loads (Mirrokni et al., 2016)."""

    name = "session hash"
    bound = 1.25

    def key(self, job: Job) -> str:
        return job.session

    def choose(self, job: Job, load: Sequence[int], gateway: int) -> int:
        cap = max(4, self.bound * (sum(load) + 1) / len(self.replicas))
        free = [at for at in self.replicas if load[at] < cap] or list(self.replicas)
        return max(free, key=lambda at: xxhash.xxh3_64_intdigest(f"{at} {self.key(job)}".encode()))


class PrefixHash(Session):
    """The same, of the first 256 tokens: no index, and nothing to share between gateways."""

    name = "prefix hash"

    def key(self, job: Job) -> str:
        return str(job.blocks[:4])


class Seen:
    """Blocks that were sent to one replica, the last `most` of them."""

    def __init__(self, most: int = 100_000) -> None:
        self.blocks: OrderedDict[int, None] = OrderedDict()
        self._most = most

    def match(self, job: Job) -> int:
        found = 0
        for block in job.blocks:
            if block not in self.blocks:
                break
            found += 1
        return found

    def add(self, job: Job) -> None:
        for block in job.blocks:
            self.blocks[block] = None
            self.blocks.move_to_end(block)
        while len(self.blocks) > self._most:
            self.blocks.popitem(last=False)


class Indexed(Counted):
    """Base of those that remember what they sent where."""

    def __init__(self, replicas: int, rng: random.Random) -> None:
        super().__init__(replicas, rng)
        self.seen: dict[int, list[Seen]] = defaultdict(lambda: [Seen() for _ in range(replicas)])

    def pick(self, job: Job, now: float, gateway: int) -> int:
        chosen = super().pick(job, now, gateway)
        self.seen[gateway][chosen].add(job)
        return chosen


class CacheAware(Indexed):
    """SGLang's router: the replica with the longest match, if more than half of the prompt matches; else the one with
    the least in its tree; and the shortest queue while loads differ by more than `absolute` and `relative`."""

    name = "cache aware (SGLang)"
    threshold, absolute, relative = 0.5, 32, 1.0001

    def choose(self, job: Job, load: Sequence[int], gateway: int) -> int:
        if max(load) - min(load) > self.absolute and max(load) > self.relative * min(load):
            return min(self.replicas, key=lambda at: load[at])
        seen = self.seen[gateway]
        best = max(self.replicas, key=lambda at: seen[at].match(job))
        if seen[best].match(job) > self.threshold * len(job.blocks):
            return best
        return min(self.replicas, key=lambda at: len(seen[at].blocks))


class LongestPrefix(Indexed):
    """production-stack's prefix-aware rule: the longest match, at random among equals; loads are not looked at."""

    name = "longest prefix (production-stack)"

    def choose(self, job: Job, load: Sequence[int], gateway: int) -> int:
        matches = [seen.match(job) for seen in self.seen[gateway]]
        return self.rng.choice([at for at in self.replicas if matches[at] == max(matches)])


class BoundedPrefix(Indexed):
    """AIBrix's prefix-cache rule: among the replicas whose load is within the mean and two deviations, the longest match;
    the fewest calls among equals."""

    name = "bounded prefix (AIBrix)"
    deviations = 2.0

    def choose(self, job: Job, load: Sequence[int], gateway: int) -> int:
        mean = sum(load) / len(load)
        spread = (sum((one - mean) ** 2 for one in load) / len(load)) ** 0.5
        fit = [at for at in self.replicas if load[at] <= mean + self.deviations * spread]
        seen = self.seen[gateway]
        return min(fit, key=lambda at: (-seen[at].match(job), load[at], self.rng.random()))


Make = Callable[[int, random.Random], Policy]
BASELINES: Mapping[str, Make] = {
    rule.name: rule
    for rule in (
        RoundRobin, LeastRequests, TwoChoices, Session, PrefixHash, CacheAware, LongestPrefix, BoundedPrefix,
    )
}  # fmt: skip
