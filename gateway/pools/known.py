"""What is known of one endpoint beyond its counts: the blocks it holds, how quick it is, how well we guess."""

from __future__ import annotations

import math

from gateway.pools.chain import BLOCK
from gateway.pools.held import LEAST, MOST, MOST_OF_A_POOL, Held
from gateway.pools.learned import LEAST_OF_IT, WELL, Common, Hits, Speed
from gateway.pools.reading import Reading
from gateway.pools.sharing import Others

SHORTER, LONGER = 0.5, 1.25
"""What our memory of an endpoint is made, of what is in it, when it promised too much, and of its room when it was right."""
HEARD = 4
"""Of the room for blocks, this part again for marks: there are fewer of them."""


class Known:
    """Kept up to date by `look`, which is called before each pick and costs nothing while there is no new reading."""

    __slots__ = ("_learned", "_reading", "_size", "heard", "held", "hits", "others", "speed")

    def __init__(self) -> None:
        self.held = Held()
        self.heard = Held(MOST // HEARD)
        """Marks of prompts that other gateways sent there."""
        self.others = Others()
        self.speed = Speed()
        self.hits = Hits()
        self._reading: Reading | None = None
        self._learned = math.inf
        """Blocks that it seems to keep, where that is less than it says."""
        self._size = 0

    def look(self, reading: Reading | None, common: Common, endpoints: int) -> None:
        """`endpoints`: how many share the room there is for all."""
        if reading is self._reading and endpoints == self._size:
            return
        if reading is not None and self._reading is not None and restarted(self._reading, reading):
            self.restarted()
        self._reading = reading if reading is not None else self._reading
        self._size = endpoints
        self._fit(common)

    def restarted(self) -> None:
        """Its cache is empty; how quick it is, it will still be."""
        self.held.clear()
        self.heard.clear()

    def told(self, predicted: float, cached: int, common: Common) -> None:
        """Of a call of which we thought that `predicted` tokens were cached, `cached` were."""
        share = self.hits.told(predicted, cached)
        if share is None:
            return
        if share < LEAST_OF_IT:
            self._learned = max(LEAST, SHORTER * len(self.held))
        elif share >= WELL:
            self._learned *= LONGER
        self._fit(common)

    def _fit(self, common: Common) -> None:
        most, reading = float(MOST), self._reading
        if reading is not None and reading.blocks and reading.block_tokens:
            most = common.size(reading.blocks * reading.block_tokens) / BLOCK
        room = min(most, self._learned, MOST_OF_A_POOL / max(1, self._size))
        self.held.fit(max(LEAST, int(room)))
        self.heard.fit(max(LEAST, int(room / HEARD)))


def restarted(before: Reading, after: Reading) -> bool:
    """Whether its caches were emptied between two readings: it began later, or counters fell back."""
    if before.started is not None and after.started is not None and after.started > before.started + 1.0:
        return True
    counters = ((before.prompt_tokens, after.prompt_tokens), (before.cached_tokens, after.cached_tokens))
    return any(was is not None and now is not None and now < was for was, now in counters)
