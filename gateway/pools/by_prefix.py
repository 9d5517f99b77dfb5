"""The rule `prefix`: the endpoint that will give the first token soonest, by what it has cached and what it has to do.

Where that is much the same for several, they are not drawn by lot: a prompt that nobody knows goes where its first KiB
belongs, one whose beginning all know goes where its conversation belongs. So several gateways send the same prompts to
the same places though none tells another, and each conversation stays whole in one cache.

Hashes are fair only among many: of 18 prompts one of three caches may be given nine. Where a gateway knows what the others
send, or learns from the engines that there are none, what is new goes where there is room, and hashes decide among equals.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Sequence
from operator import attrgetter
from typing import TYPE_CHECKING

from gateway.pools.asked import Asked
from gateway.pools.chain import BLOCK, ROOT_BLOCKS, Prefix
from gateway.pools.cost import Estimate, estimate, question
from gateway.pools.learned import FIRST_RATE, Common
from gateway.pools.placement import cap, first
from gateway.pools.sharing import marks_of

if TYPE_CHECKING:
    from gateway.pools.endpoint import Endpoint

NEAR = 0.05
"""Of the shortest wait: estimates that differ by less say nothing."""
COLD = 0.2
"""A match of less than this share of the prompt is no reason to pile prompts up in one cache: ..."""
NEAR_COLD = 0.25
"""... then estimates that differ by less than this share of the prompt are alike, too."""
FULL = 0.8
"""Of the longest match: about as much as anybody has."""
SLACK = 0.002
"""Seconds that never matter."""
MOST_REMEMBERED = 4096
_COST = attrgetter("cost")
_NO_PREFIX = Prefix((), 0, 0, 0)


class ByPrefix:
    """Knows what all endpoints of one provider have in common, and where the latest calls went."""

    __slots__ = ("_asked", "common", "shared")

    def __init__(self) -> None:
        self.common = Common()
        self.shared = False
        """Other gateways tell what they send where."""
        self._asked: OrderedDict[int, tuple[int, ...]] = OrderedDict()
        """Hash of a prompt to the endpoints that were asked it, so that a second call of an exchange goes elsewhere."""

    def pick(self, ready: Sequence[Endpoint], now: int, asked: Asked, rng: random.Random) -> Estimate:
        """Changes nothing but its memory of who was asked what."""
        prefix = asked.prefix or _NO_PREFIX
        before = self._asked.get(prefix.whole, ()) if asked.turn else ()
        others = [endpoint for endpoint in ready if endpoint.seed not in before] or ready
        chosen = self._best(others, prefix, now, rng)
        self._remember(prefix.whole, (*before, chosen.endpoint.seed))
        return chosen

    def _best(self, ready: Sequence[Endpoint], prefix: Prefix, now: int, rng: random.Random) -> Estimate:
        common = self.common
        rates = [rate for endpoint in ready if (rate := endpoint.known.speed.rate)]
        usual = sum(rates) / len(rates) if rates else FIRST_RATE
        marks = marks_of(prefix.blocks) if self.shared else ()
        asked = question(prefix, marks, now, common, usual)
        estimates = [estimate(endpoint, asked) for endpoint in ready]
        best = min(estimates, key=_COST)
        longest = max([one.blocks for one in estimates])
        near, least = NEAR * best.cost, FULL * longest
        if common.tokens(longest * BLOCK) < COLD * best.prompt:
            near, least = max(near, max(NEAR_COLD, common.reuse) * best.prompt / usual), 0.0
        alike = [one for one in estimates if one.cost <= best.cost + near + SLACK]
        if len(alike) == 1:
            return best
        if not prefix.size:
            return _two_choices(alike, rng)
        bound = cap([one.in_flight for one in estimates])
        # A copy elsewhere pushes out what somebody else needs there: where waits are alike, the one that has it is asked.
        free = [one.endpoint for one in alike if one.in_flight < bound and one.blocks >= least]
        if not free:
            return _two_choices(alike, rng)
        if longest >= ROOT_BLOCKS:
            key = prefix.head
        else:
            key = prefix.root
            if self.shared or common.alone:
                free = _roomy(free, len(prefix.blocks))
        home = first(free, key.to_bytes(8, "little"))
        return next(one for one in alike if one.endpoint is home)

    def _remember(self, whole: int, seeds: tuple[int, ...]) -> None:
        asked = self._asked
        asked[whole] = seeds
        asked.move_to_end(whole)
        if len(asked) > MOST_REMEMBERED:
            asked.popitem(last=False)


def _roomy(endpoints: Sequence[Endpoint], blocks: int) -> list[Endpoint]:
    """Those with the most room, to within as many blocks as are to be placed: so gateways that know much the same choose
    the same."""
    most = max([endpoint.known.held.spare for endpoint in endpoints])
    return [endpoint for endpoint in endpoints if endpoint.known.held.spare > most - max(1, blocks)]


def _two_choices(alike: Sequence[Estimate], rng: random.Random) -> Estimate:
    """The less busy of two drawn by lot; of equally busy ones, that which was left alone longest."""
    pair = alike if len(alike) <= 2 else rng.sample(alike, 2)
    return min(pair, key=lambda one: (one.in_flight, one.endpoint.used))
