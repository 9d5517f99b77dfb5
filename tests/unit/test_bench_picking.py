"""The bench of picks: what it times is a pick, and how much work that is does not depend on what was asked before."""

from __future__ import annotations

import random
from collections import OrderedDict
from math import ceil, log2
from typing import Any

import pytest

from bench import picking
from gateway.core.clock import ManualClock
from gateway.pools import chain, placement
from gateway.pools.affinity import ask_of
from gateway.pools.chain import BLOCK, MOST_BLOCKS
from gateway.pools.endpoints import Endpoints


class Lookups(OrderedDict[int, None]):
    """Counts what is looked up and what is put in."""

    seen = put = 0

    def __contains__(self, key: Any) -> bool:
        self.seen += 1
        return super().__contains__(key)

    def __setitem__(self, key: int, value: None) -> None:
        self.put += 1
        super().__setitem__(key, value)


class Hashes:
    """xxhash, counted."""

    def __init__(self, real: Any) -> None:
        self.count = 0
        self._real = real.xxh3_64_intdigest

    def xxh3_64_intdigest(self, *given: Any) -> int:
        self.count += 1
        made: int = self._real(*given)
        return made


@pytest.mark.parametrize("size", [4_000, 128_000, 2_000_000])
@pytest.mark.parametrize("endpoints", [2, 16])
def test_a_pick_does_so_much_work_and_no_more(monkeypatch: pytest.MonkeyPatch, size: int, endpoints: int) -> None:
    """One hash for each block and endpoint, a logarithm of look-ups for each endpoint, one note for each block: however
    long the prompt, however much is remembered, however often it was asked."""
    hashes = Hashes(chain.xxhash)
    monkeypatch.setattr(chain, "xxhash", hashes)
    monkeypatch.setattr(placement, "xxhash", hashes)
    rng = random.Random(1)
    pool = Endpoints([f"http://h{n}" for n in range(endpoints)], "prefix", ManualClock(), rng=rng)
    books = []
    for endpoint in pool.all:
        endpoint.known.held._blocks = book = Lookups()
        books.append(book)
    blocks = min(MOST_BLOCKS, size // BLOCK + size // picking.TURN)
    requests = [picking.request_of(size, rng) for _ in range(3)]
    for request in [*requests, *requests, requests[0]]:
        hashes.count = 0
        for book in books:
            book.seen = book.put = 0
        picking.pick(pool, ask_of("prefix")(request, picking.TARGET, "", "t", 0))
        assert hashes.count <= blocks + endpoints + 4
        assert sum(book.seen for book in books) <= endpoints * (ceil(log2(blocks)) + 2)
        assert sum(book.put for book in books) <= blocks


def test_the_report_says_what_was_measured() -> None:
    """A line for each size and number of endpoints, and whether the limit was kept."""
    rows = [picking.measured(4_000, 2, warm, 2) for warm in (False, True)]
    text = picking.report(rows, 140.0, quick=True)
    assert text.count("| 4 KB | 2 |") == 2
    assert "0.1 |" in text
    slow = picking.Row(4_000, 2, False, 0.1, 0.2, 0.3)
    assert "**FAIL**" in picking.report([slow], 140.0, quick=True)
    assert 50 < picking.bytes_of_a_block() < 400
