"""What an endpoint is thought to hold: the newest blocks, the ends of prompts forgotten before their beginnings."""

from __future__ import annotations

from collections import OrderedDict
from itertools import accumulate
from math import ceil, log2
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.pools.held import Held

words = st.lists(st.integers(0, 3), max_size=12)


def chain(word: list[int]) -> tuple[int, ...]:
    """Hashes of a prompt, one for each letter: alike as far as two words begin alike."""
    return tuple(accumulate(word, lambda last, letter: hash((last, letter)), initial=7))[1:]


def walked(held: Held, blocks: tuple[int, ...]) -> int:
    """The match, found by looking at every block."""
    return next((at for at, block in enumerate(blocks) if block not in held._blocks), len(blocks))


@given(st.lists(words, max_size=40), st.integers(1, 20), words)
def test_a_match_is_what_walking_would_find(used: list[list[int]], room: int, asked: list[int]) -> None:
    """Halving finds the same as walking, whatever was used before and forgotten since; and there is never more than fits."""
    held = Held(room)
    for word in used:
        blocks = chain(word)
        held.use(blocks, held.match(blocks))
        assert len(held) <= room
        assert held.match(blocks) == min(len(blocks), room)
    blocks = chain(asked)
    found = held.match(blocks)
    assert found == walked(held, blocks)
    assert not any(block in held._blocks for block in blocks[found:]), "no end without its beginning"


@given(st.lists(words, min_size=1, max_size=40), st.integers(1, 20), st.integers(0, 20))
def test_the_newest_stay(used: list[list[int]], room: int, less: int) -> None:
    """When room is taken away, what was used last is what stays; cleared, nothing is left."""
    held = Held(room)
    for word in used:
        blocks = chain(word)
        held.use(blocks, held.match(blocks))
    held.fit(less)
    last = chain(used[-1])
    assert held.match(last) == min(len(last), less, room)
    held.clear()
    assert len(held) == held.match(last) == 0


class Counting(OrderedDict[int, None]):
    """Counts how often it is asked."""

    asked = 0

    def __contains__(self, key: Any) -> bool:
        self.asked += 1
        return super().__contains__(key)


def test_a_match_costs_the_logarithm_of_the_prompt() -> None:
    """Of a prompt of 2048 blocks at most twelve are looked up, wherever the match ends."""
    prompt = chain(list(range(2048)))
    for length in (0, 1, 700, 2047, 2048):
        held = Held(5000)
        held._blocks = counting = Counting()
        held.use(prompt[:length], 0)
        assert held.match(prompt) == length
        assert counting.asked <= ceil(log2(2048)) + 1
