"""What gateways tell each other of a pool: enough to pick as one would, and nothing that could do harm."""

from __future__ import annotations

import random
from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.clock import ManualClock
from gateway.pools.asked import Asked
from gateway.pools.chain import BLOCK, prefix_of
from gateway.pools.endpoint import Endpoint
from gateway.pools.endpoints import Endpoints
from gateway.pools.lease import Lease
from gateway.pools.reading import Reading
from gateway.pools.sharing import AGAIN, COUNTS, FRESH, MOST_GATEWAYS, MOST_NOTES, Load, News, Others, Sharing, marks_of

URLS = [f"http://h{n}:80/v1" for n in range(4)]


class Gateways:
    """Several pools over the same endpoints, on one clock."""

    def __init__(self, count: int, *, telling: bool = True) -> None:
        self.clock = ManualClock()
        self.pools = [Endpoints(URLS, "prefix", self.clock, rng=random.Random(n)) for n in range(count)]
        self.telling = telling
        for number, pool in enumerate(self.pools):
            assert pool.share(number)

    def tell(self) -> None:
        """Everything that everybody has to say reaches everybody, as bytes."""
        said = [msgspec.msgpack.encode(news) for pool in self.pools if (news := pool.news()) is not None]
        for message in said if self.telling else ():
            for pool in self.pools:
                pool.hear(msgspec.msgpack.decode(message, type=News))

    def ask(self, gateway: int, asked: Asked) -> Lease:
        self.tell()
        lease = self.pools[gateway].lease(asked)
        assert lease is not None
        return lease


def prompt(text: str, blocks: int = 16) -> Asked:
    return Asked(prefix=prefix_of((text + " ").encode() * (blocks * BLOCK // (len(text) + 1) + 1), head=64))


@given(st.integers(0, 2048), st.integers(0, 2048))
def test_marks_find_what_is_common_to_within_a_fifth(shared: int, rest: int) -> None:
    """Of two prompts that begin with the same blocks, the marks tell how many, never too many and at most a fifth too few."""
    blocks = tuple(range(shared + rest))[:2048]
    other = blocks[:shared] + tuple(range(-rest - 1, 0))[: 2048 - shared]
    same = sum(a == b for a, b in zip(marks_of(blocks), marks_of(other), strict=False))
    found = COUNTS[same - 1] if same else 0
    most = min(shared, len(blocks), len(other))
    assert found <= most
    assert found > 0.8 * most - 1
    assert len(marks_of(blocks)) <= len(COUNTS) == 40


def test_a_prompt_that_another_gateway_sent_is_found() -> None:
    """What one gateway sent somewhere, another sends there too, though it never saw the beginning itself; also a longer
    prompt, by most of what is shared."""
    both = Gateways(2)
    for number in range(30):
        asked = prompt(f"talk {number}", 40)
        home = both.ask(0, asked)
        home.answered()
        home.end(ok=True)
        longer = Asked(prefix=prefix_of(f"talk {number} ".encode() * 2000))
        there = both.ask(1, longer)
        assert there.endpoint.url == home.endpoint.url
        matched = float(there.picked.split("prefix ")[1].split("/")[0])
        assert matched >= 0.8 * 40 * BLOCK / 4
        there.end(ok=True)


def test_gateways_that_tell_each_other_place_evenly() -> None:
    """What is new goes where there is room, from every gateway, and what one has placed the others find there."""
    both = Gateways(2)
    homes: dict[int, str] = {}
    for n in range(36):
        lease = both.ask(n % 2, prompt(f"app {n}", 8))
        homes[n] = lease.endpoint.url
        lease.end(ok=None)
        both.tell()
    assert set(Counter(homes.values()).values()) <= {8, 9, 10}
    for n in range(36):
        lease = both.ask((n + 1) % 2, prompt(f"app {n}", 8))
        assert lease.endpoint.url == homes[n]
        lease.end(ok=None)


@pytest.mark.parametrize(("telling", "least", "most"), [(True, 9, 11), (False, 0, 40)])
def test_a_burst_through_many_gateways_is_spread(telling: bool, least: int, most: int) -> None:
    """Forty calls through four gateways load the endpoints as they would through one, if they tell each other."""
    four = Gateways(4, telling=telling)
    for number in range(40):
        four.ask(number % 4, prompt(f"burst {number}", 8 + number % 3))
    loads = [sum(pool.all[at].in_flight for pool in four.pools) for at in range(4)]
    assert least <= min(loads)
    assert max(loads) <= most


def test_what_others_have_under_way_is_not_counted_twice() -> None:
    """An engine's queue that is other gateways' is known from them; only what is nobody's is guessed from its metrics."""
    both = Gateways(2)
    lease = both.ask(0, prompt("one"))
    both.tell()
    endpoint = next(one for one in both.pools[1].all if one.url == lease.endpoint.url)
    endpoint.reading = Reading(at=both.clock.now(), waiting=1.0)
    for other in both.pools[1].all:
        if other is not endpoint:
            other.begin(fresh=9000)
    again = both.pools[1].lease(prompt("one"))
    assert again is not None
    assert again.endpoint is endpoint
    assert "queue 1025 tok" in again.picked


def test_words_grow_old() -> None:
    """What a gateway said of its load is forgotten when it says no more; a load that stays is told again before that."""
    both = Gateways(2)
    lease = both.ask(0, prompt("one"))
    both.tell()
    theirs = next(one for one in both.pools[1].all if one.url == lease.endpoint.url)
    assert theirs.known.others.load(both.clock.now())[:3] == (1025.0, 1, 1)
    for _ in range(8):
        both.clock.advance(AGAIN)
        both.tell()
        assert theirs.known.others.load(both.clock.now())[:3] == (1025.0, 1, 1)
    lease.answered()
    both.tell()
    assert theirs.known.others.load(both.clock.now())[:3] == (0.0, 1, 0)
    both.clock.advance(FRESH + 0.1)
    assert theirs.known.others.load(both.clock.now()) == Load()
    lease.end(ok=True)
    both.tell()
    assert theirs.known.others.load(both.clock.now())[:3] == (0.0, 0, 0)


def test_nothing_new_is_not_said() -> None:
    """Idle gateways are silent, and nobody listens to himself."""
    both = Gateways(2)
    both.tell()
    assert [pool.news() for pool in both.pools] == [None, None]
    lease = both.ask(0, prompt("one"))
    news = both.pools[0].news()
    assert news is not None
    both.pools[0].hear(news)
    assert len(lease.endpoint.known.heard) == 0
    assert lease.endpoint.known.others.load(0) == Load()
    assert both.pools[0].news() is None


def test_a_restart_empties_what_was_heard_too() -> None:
    """An endpoint that lost its cache has nothing that anybody sent there."""
    both = Gateways(2)
    lease = both.ask(0, prompt("one"))
    both.tell()
    theirs = next(one for one in both.pools[1].all if one.url == lease.endpoint.url)
    assert len(theirs.known.heard)
    theirs.known.restarted()
    assert len(theirs.known.heard) == 0


def test_only_the_rule_that_looks_at_prompts_shares() -> None:
    """Others have nothing to tell, and do not listen."""
    pool = Endpoints(URLS, "session", ManualClock())
    assert not pool.share(1)
    assert pool.news() is None
    pool.hear(News(2, ((pool.all[0].seed, 5.0, 1, 1),), ()))
    assert pool.all[0].known.others.load(0) == Load()


@given(
    st.lists(st.tuples(st.integers(0, 5), st.floats(-1e9, 1e9), st.integers(-9, 9), st.integers(-9, 9)), max_size=9),
    st.lists(st.tuples(st.integers(0, 5), st.lists(st.integers(0, 2**64 - 1), max_size=60)), max_size=9),
)
def test_whatever_is_said_does_no_harm(
    loads: list[tuple[int, float, int, int]], notes: list[tuple[int, list[int]]]
) -> None:
    """Words that make no sense, or are about endpoints that are not ours, leave a pool that picks and counts as before."""
    pool = Endpoints(URLS, "prefix", ManualClock(), rng=random.Random(1))
    pool.share(1)
    seeds = [*(endpoint.seed for endpoint in pool.all), 12, 13]
    said = News(
        2,
        tuple((seeds[at], *load) for at, *load in loads),
        tuple((seeds[at], tuple(marks)) for at, marks in notes),
    )
    pool.hear(said)
    lease = pool.lease(prompt("x"))
    assert lease is not None
    lease.end(ok=True)
    assert all((one.in_flight, one.unread) == (0, 0.0) for one in pool.all)


def test_all_of_it_is_bounded() -> None:
    """Notes that nobody fetches, gateways that never end, and prompts that are told for ever take no more than so much."""
    sharing, endpoint = Sharing(1), Endpoint("http://h")
    for number in range(3 * MOST_NOTES):
        sharing.placed(endpoint, (number,))
    news = sharing.news([endpoint], 0)
    assert news is not None
    assert [marks for _, marks in news.notes] == [(number,) for number in range(2 * MOST_NOTES, 3 * MOST_NOTES)]
    others = Others()
    for by in range(3 * MOST_GATEWAYS):
        others.said(by, Load(1.0, 1, 1, 0))
    assert others.load(0).in_flight == MOST_GATEWAYS
    room = endpoint.known.heard.room
    for number in range(room + 100):
        sharing.hear(News(2, (), ((endpoint.seed, (number,)),)), {endpoint.seed: endpoint}, 0)
    assert len(endpoint.known.heard) == room
