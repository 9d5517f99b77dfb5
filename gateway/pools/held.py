"""The blocks that one endpoint is thought to have in its prefix cache.

Each endpoint has a memory of its own rather than a bit in a shared one: whoever comes, goes or restarts then costs
nothing, and because a block is never forgotten before those that follow it, a match is found by halving and not by
walking the chain.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

MOST = 31_250
"""Blocks, where the engine does not tell the size of its cache: two million tokens. About 200 bytes each here."""
MOST_OF_A_POOL = 250_000
"""Blocks of all endpoints of one provider together: 50 MB."""
LEAST = 16


class Held:
    """At most `room` blocks, the least recently used forgotten first."""

    __slots__ = ("_blocks", "room")

    def __init__(self, room: int = MOST) -> None:
        self._blocks: OrderedDict[int, None] = OrderedDict()
        self.room = room

    def __len__(self) -> int:
        return len(self._blocks)

    @property
    def spare(self) -> int:
        """Blocks that fit in before one is forgotten."""
        return self.room - len(self._blocks)

    def match(self, blocks: Sequence[int]) -> int:
        """How many of them it has, from the first on. Changes nothing."""
        held = self._blocks
        if not blocks or blocks[0] not in held:
            return 0
        low, high = 1, len(blocks)
        while low < high:
            middle = (low + high) // 2
            if blocks[middle] in held:
                low = middle + 1
            else:
                high = middle
        return low

    def use(self, blocks: Sequence[int], matched: int) -> None:
        """From now on it has all of them (as many as fit), and they are the newest. `matched`: what `match` said of them.
        Last to first, so that of every prompt the end is forgotten before the beginning, as engines do."""
        held, room = self._blocks, self.room
        for block in reversed(blocks[matched:room]):
            held[block] = None
        move = held.move_to_end
        for block in reversed(blocks[: min(matched, room)]):
            held[block] = None  # it is there, unless what others told us made no sense
            move(block)
        self.fit(room)

    def drop(self, blocks: Sequence[int]) -> None:
        """It has not got these after all."""
        for block in blocks:
            self._blocks.pop(block, None)

    def fit(self, room: int) -> None:
        """Has room for so many from now on."""
        self.room = room
        held = self._blocks
        while len(held) > room:
            held.popitem(last=False)

    def clear(self) -> None:
        self._blocks.clear()
