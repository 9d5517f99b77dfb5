"""The rule `prefix`: where the first token will come soonest, counted at once, learned from every call."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import pytest

from gateway.core.clock import ManualClock
from gateway.pools.asked import NOTHING, Asked
from gateway.pools.chain import BLOCK, prefix_of
from gateway.pools.endpoint import FAILURES, FIRST_PAUSE, LONGEST_PAUSE, Endpoint
from gateway.pools.endpoints import LONGEST_CALL, Endpoints
from gateway.pools.filter import FULL_QUEUE, HEADROOM, TURNS
from gateway.pools.held import MOST, MOST_OF_A_POOL
from gateway.pools.learned import ENOUGH_CALLS, FIRST_RATE, Speed
from gateway.pools.lease import Lease
from gateway.pools.reading import STALE_AFTER, Reading


class Pool(Endpoints):
    """Endpoints with the rule `prefix`, and the clock that they go by."""

    def __init__(self, count: int, seed: int = 1) -> None:
        self.clock = ManualClock()
        super().__init__([f"http://h{n}:80/v1" for n in range(count)], "prefix", self.clock, rng=random.Random(seed))

    def ask(self, asked: Asked) -> Lease:
        lease = self.lease(asked)
        assert lease is not None
        return lease

    def home(self, asked: Asked, seconds: float = 0.1) -> Endpoint:
        """One call from beginning to end."""
        lease = self.ask(asked)
        self.clock.advance(seconds)
        lease.answered()
        lease.end(ok=True)
        return lease.endpoint

    def others(self, endpoint: Endpoint) -> list[Endpoint]:
        return [one for one in self.all if one is not endpoint]


def prompt(text: str, blocks: int = 16, **more: int) -> Asked:
    """A prompt of so many blocks, which no other text's begins like."""
    return Asked(prefix=prefix_of((text + " ").encode() * (blocks * BLOCK // (len(text) + 1) + 1), head=64), **more)


def over(start: str, question: str, blocks: int = 16) -> Asked:
    """A question over a beginning that others share."""
    start = (start + " ") * (blocks * BLOCK // (len(start) + 1) + 1)
    text = start + question * 8
    return Asked(prefix=prefix_of(text.encode(), head=len(text)))


def reading(pool: Pool, **fields: float) -> Reading:
    return Reading(at=pool.clock.now(), **fields)


# --- where


def test_a_prompt_goes_where_it_was_read() -> None:
    """What an endpoint has read it is asked again, whatever was asked elsewhere meanwhile."""
    pool = Pool(5)
    homes = {text: pool.home(prompt(text)) for text in map(str, range(40))}
    assert {text: pool.home(prompt(text)) for text in homes} == homes
    assert len(set(homes.values())) == 5


def test_a_burst_is_spread_by_what_was_just_given_out() -> None:
    """Calls that come together, before anything was measured, are counted as they are picked: none piles up."""
    pool = Pool(4)
    for number in range(16):
        pool.ask(prompt(f"burst {number}"))
    assert [endpoint.in_flight for endpoint in pool.all] == [4] * 4


def test_a_hot_prefix_spills_over_by_itself() -> None:
    """A prompt that everybody asks for at one time is soon cached everywhere, and all endpoints work on it."""
    pool = Pool(4)
    for number in range(200):
        pool.ask(over("hot", f"question {number}"))
    counts = [endpoint.in_flight for endpoint in pool.all]
    assert min(counts) >= 40, counts
    assert all(endpoint.known.held.match(over("hot", "").prefix.blocks) for endpoint in pool.all)


def test_what_spills_goes_where_most_of_it_is() -> None:
    """Where the best endpoint is busy, the next is the one with the longest match among those with little to do."""
    pool = Pool(4)
    asked = prompt("long", 64)
    assert asked.prefix is not None
    busy, half = pool.all[0], pool.all[2]
    busy.known.held.use(asked.prefix.blocks, 0)
    half.known.held.use(asked.prefix.blocks[:32], 0)
    assert pool.ask(asked).endpoint is busy
    busy.begin(fresh=50_000)
    busy.known.held.use(asked.prefix.blocks, 64)
    assert pool.ask(asked).endpoint is half


@pytest.mark.parametrize(("unread", "copied"), [(4000, False), (8000, False), (9000, True)])
def test_a_copy_is_made_when_the_queue_outweighs_it_twice(unread: int, copied: bool) -> None:
    """A prompt of 4,096 tokens waits behind as many where it is cached: read elsewhere it would push out as much, which
    somebody else would wait for."""
    pool = Pool(4)
    asked = prompt("long", 64)
    home = pool.home(asked)
    home.begin(fresh=unread)
    assert (pool.ask(asked).endpoint is not home) == copied


def test_a_small_match_is_no_reason_to_pile_up() -> None:
    """Documents behind one short preamble are spread over all caches, though one of them had the preamble first."""
    pool = Pool(4)
    homes = Counter(
        pool.home(Asked(prefix=prefix_of(b"preamble " * 60 + f"document {n} ".encode() * 500, head=2000)))
        for n in range(80)
    )
    assert len(homes) == 4
    assert max(homes.values()) < 40, homes


def test_short_prompts_are_told_by_their_conversation() -> None:
    """Of a conversation that fills no block yet, each turn goes to one endpoint; conversations are spread."""
    pool = Pool(4)
    homes = {pool.home(Asked(prefix=prefix_of(f"chat {n}: hello".encode()))) for n in range(40)}
    again = [pool.home(Asked(prefix=prefix_of(b"chat 7: hello" + b" more" * turn, head=13))) for turn in range(9)]
    assert len(homes) == 4
    assert len(set(again)) == 1


def test_calls_without_a_prompt_take_the_less_busy_of_two() -> None:
    """Nothing to go by but the load: it stays even."""
    pool = Pool(4)
    for _ in range(40):
        pool.ask(NOTHING)
    assert max(endpoint.in_flight for endpoint in pool.all) <= 12


def test_a_second_call_of_an_exchange_goes_elsewhere() -> None:
    """A retry and a hedge are not sent where the prompt was just sent, however well it is cached there."""
    pool = Pool(3)
    for _ in range(3):
        first = pool.ask(prompt("slow"))
        hedge = pool.ask(prompt("slow", turn=1))
        third = pool.ask(prompt("slow", turn=2))
        assert {first.endpoint, hedge.endpoint, third.endpoint} == set(pool.all)
        for lease in (first, hedge, third):
            lease.end(ok=None)


def test_one_endpoint_is_all_there_is() -> None:
    """A pool of one asks nothing; a pool of none gives nothing, also when all were tried."""
    pool = Pool(1)
    assert pool.ask(prompt("x")).picked == "only"
    assert pool.lease(prompt("x"), {pool.all[0]}) is None
    pool.keep([], even_none=True)
    assert pool.lease(prompt("x")) is None


# --- several gateways


def agreement(gateways: int, prompts: Sequence[Asked], endpoints: int = 8) -> float:
    """Share of prompts that all gateways, each meeting them first and in an order of its own, send to one endpoint."""
    homes: list[dict[int, str]] = []
    for number in range(gateways):
        pool = Pool(endpoints, seed=number)
        order = list(prompts)
        random.Random(number).shuffle(order)
        homes.append({asked.prefix.whole: pool.home(asked).url for asked in order if asked.prefix})
    return sum(len({home[key] for home in homes}) == 1 for key in homes[0]) / len(prompts)


@pytest.mark.parametrize("gateways", [2, 3, 4])
def test_gateways_agree_where_a_cold_prompt_goes(gateways: int) -> None:
    """With no word between them: prompts that nobody has seen go to the same endpoints from every gateway."""
    assert agreement(gateways, [prompt(f"cold {n}", 8) for n in range(200)]) == 1.0


@pytest.mark.parametrize("gateways", [2, 4])
def test_gateways_agree_on_conversations_over_shared_prompts(gateways: int) -> None:
    """Of questions over ten system prompts, met in another order by each gateway, all go where their prompt belongs."""
    assert agreement(gateways, [over(f"app {n % 10}", f"question {n}", 40) for n in range(200)]) == 1.0


def placed(pool: Pool, asked: Asked, cached: float) -> Endpoint:
    """One call, of whose prompt the engine says that this share was cached."""
    lease = pool.ask(asked)
    pool.clock.advance(0.1)
    lease.answered()
    lease.usage(2000, int(cached * 2000))
    lease.end(ok=True)
    return lease.endpoint


def test_a_gateway_that_is_alone_places_evenly() -> None:
    """Where engines tell what they had cached, and it was never what we had not sent: of 18 prompts each of three caches
    gets six, though hashes alone would give one of them nine."""
    pool = Pool(3)
    homes = Counter(placed(pool, prompt(f"app {n}", 8), 0.01) for n in range(18))
    assert sorted(homes.values()) == [6, 6, 6]


def test_what_is_placed_evenly_stays_where_it_is() -> None:
    """And it is found there again, however many prompts came since."""
    pool = Pool(3)
    homes = {n: placed(pool, prompt(f"app {n}", 8), 0.01) for n in range(18)}
    assert {n: placed(pool, prompt(f"app {n}", 8), 0.99) for n in range(18)} == homes


def test_gateways_that_find_each_others_prompts_agree_on_new_ones() -> None:
    """An engine that had cached what we never sent has other callers: from then on hashes decide, and all agree. As long
    as it tells of none each goes by the room it knows of."""

    def share(cached: float) -> float:
        homes: list[dict[int, str]] = []
        for number in range(2):
            pool = Pool(8, seed=number)
            for n in range(40):
                placed(pool, prompt(f"only {number} knows {n}", 8), cached)
            order = random.Random(number).sample(range(40), 40)
            homes.append({n: placed(pool, prompt(f"new {n}", 8), cached).url for n in order})
        return sum(homes[0][n] == homes[1][n] for n in range(40)) / 40

    assert share(0.9) == 1.0
    assert share(0.01) < 0.8


def test_a_conversation_that_another_gateway_began_is_found() -> None:
    """The next turn, at a gateway that never saw the first, goes to the endpoint that has it, where all have the system
    prompt."""
    found = 0
    for number in range(50):
        begun, other = Pool(4, seed=1), Pool(4, seed=2)
        system = b"system " * 300
        for pool in (begun, other):
            for endpoint in pool.all:
                endpoint.known.held.use(prefix_of(system).blocks, 0)
        turn = system + b"talk %d " % number * 20
        home = begun.home(Asked(prefix=prefix_of(turn)))
        found += other.home(Asked(prefix=prefix_of(turn + b"answer, and on " * 9, head=len(turn)))).url == home.url
    assert found == 50


# --- engines' own metrics


def test_others_calls_in_the_queue_count() -> None:
    """What another gateway sent an engine is known from its metrics, and weighed as usual calls of ours are."""
    pool = Pool(2)
    asked = prompt("warm")
    home = pool.home(asked)
    home.reading = reading(pool, waiting=FULL_QUEUE)
    assert pool.ask(asked).endpoint is not home


def test_our_own_calls_in_its_queue_are_not_counted_twice() -> None:
    """An engine's queue that is ours is known already."""
    pool = Pool(2)
    lease = pool.ask(prompt("one"))
    lease.endpoint.reading = reading(pool, waiting=1)
    again = pool.ask(prompt("one"))
    assert again.picked.startswith("prefix ")
    assert lease.endpoint.unread == pytest.approx(lease.endpoint.unread)
    queued = float(pool.ask(prompt("one")).picked.split("queue ")[1].split(" ")[0])
    assert queued <= pool.common.tokens(3 * 17 * BLOCK)


def test_a_stale_reading_is_not_believed_and_not_waited_for() -> None:
    """Metrics that stopped coming say nothing: our own counts go on alone, and the pick says so."""
    pool = Pool(2)
    asked = prompt("warm")
    home = pool.home(asked)
    home.reading = reading(pool, waiting=100, kv=1.0)
    pool.clock.advance(STALE_AFTER + 1)
    lease = pool.ask(asked)
    assert lease.endpoint is home
    assert lease.picked.endswith("reading stale")
    home.reading = Reading(at=0, started=7.0)
    assert "stale" not in pool.ask(asked).picked, "metrics that nobody reads cannot be old"


def test_a_saturated_endpoint_is_spared_while_another_can() -> None:
    """A full queue or cache sends even a cached prompt elsewhere; when all are full, it goes where it is cached."""
    pool = Pool(2)
    asked = prompt("warm", 256)
    home = pool.home(asked)
    home.reading = reading(pool, kv=1.0)
    assert pool.ask(asked).endpoint is not home
    full = reading(pool, kv=0.8 * (1 + HEADROOM))
    for endpoint in pool.all:
        endpoint.reading = full
        endpoint.known.held.clear()
    home.known.held.use(asked.prefix.blocks, 0)
    assert pool.ask(asked).endpoint is home


def test_slots_bound_what_is_under_way() -> None:
    """Of an engine that works on two calls at once, further calls are given to one with a free slot."""
    pool = Pool(2)
    for endpoint in pool.all:
        endpoint.reading = reading(pool, slots=2)
    home = pool.home(prompt("warm"))
    for _ in range(2 * TURNS):
        home.begin()
    assert pool.ask(prompt("warm")).endpoint is not home


def test_waiting_for_a_slot_is_part_of_the_wait() -> None:
    """Where all slots are held by long answers, a cold endpoint with a free one gives its first token sooner."""
    pool = Pool(2)
    asked = prompt("warm")
    for endpoint in pool.all:
        endpoint.reading = reading(pool, slots=1)
        endpoint.known.speed.held(20.0)
    writing = pool.ask(asked)
    writing.answered()
    assert pool.ask(asked).endpoint is not writing.endpoint


def test_an_adapter_is_asked_for_where_it_is_loaded() -> None:
    """Loaded is better than room for it, that better than waiting for it, and that better than putting another out."""
    pool = Pool(4)
    states = [
        {"adapters": frozenset({"a", "b"}), "most_adapters": 2},
        {"loading": frozenset({"law"}), "most_adapters": 2},
        {"adapters": frozenset({"a"}), "most_adapters": 2},
        {"adapters": frozenset({"law"}), "most_adapters": 2},
    ]
    for endpoint, state in zip(pool.all, states, strict=True):
        endpoint.reading = Reading(at=0, **state)
    left = list(pool.all)
    asked = Asked(model="base:law", adapter="law", prefix=prompt("x").prefix)
    for best in reversed(pool.all[2:]):
        assert pool.home(asked) is best
        left.remove(best)
        pool.keep([endpoint.url for endpoint in left])


def test_a_model_is_asked_for_where_it_is_served() -> None:
    """An endpoint that says which models it has is not asked for others, while another can be."""
    pool = Pool(3)
    for endpoint, models in zip(pool.all, ("one", "two", "one"), strict=True):
        endpoint.reading = Reading(at=0, models=frozenset({models}))
    assert {pool.home(Asked(model="two", prefix=prompt(str(n)).prefix)) for n in range(9)} == {pool.all[1]}
    assert pool.home(Asked(model="three", prefix=prompt("x").prefix)) in pool.all


# --- restarts and changes


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"started": 1000.0}, {"started": 2000.0}),
        ({"prompt_tokens": 5000.0}, {"prompt_tokens": 10.0}),
        ({"prompt_tokens": 5000.0, "cached_tokens": 100.0}, {"prompt_tokens": 5100.0, "cached_tokens": 0.0}),
    ],
)
def test_a_restart_empties_what_is_thought_to_be_held(before: dict[str, float], after: dict[str, float]) -> None:
    """A process that began anew, or whose counters fell back, has nothing cached; how quick it is, it still is."""
    pool = Pool(2)
    home = pool.home(prompt("warm"))
    home.reading = reading(pool, **before)
    pool.home(prompt("other", 2))
    assert home.known.held.match(prompt("warm").prefix.blocks)
    rate = home.known.speed.rate
    home.reading = reading(pool, **after)
    pool.ask(Asked(prefix=prefix_of(b"short")))
    assert home.known.held.match(prompt("warm").prefix.blocks) == 0
    assert home.known.speed.rate == rate is not None


def test_readings_that_go_on_keep_it() -> None:
    """Counters that grow, a start that stays and metrics that fail in between mean that nothing was lost."""
    pool = Pool(2)
    home = pool.home(prompt("warm"))
    for tokens in (10.0, 20.0, None, 30.0):
        home.reading = None if tokens is None else reading(pool, started=7.0, prompt_tokens=tokens)
        assert pool.home(prompt("warm")) is home


def test_one_that_broke_down_has_lost_its_cache() -> None:
    """When the breaker opens, whatever comes back is taken for a new process."""
    pool = Pool(2)
    home = pool.home(prompt("warm"))
    for _ in range(FAILURES):
        lease = pool.lease(prompt("warm"), set(pool.others(home)))
        assert lease is not None
        lease.end(ok=False)
    assert len(home.known.held) == 0
    assert pool.ask(prompt("warm")).endpoint is not home


def test_endpoints_come_and_go() -> None:
    """A new one is given its part of what is new; one that went takes nothing with it, and its calls still end."""
    pool = Pool(2)
    gone, stays = pool.all
    held = pool.lease(prompt("held"), {stays})
    assert held is not None
    pool.keep([stays.url, "http://new/v1"])
    homes = Counter(pool.home(prompt(f"new {n}")) for n in range(40))
    assert gone not in homes
    assert min(homes[endpoint] for endpoint in pool.all) > 5
    held.answered()
    held.usage(100, 50)
    held.end(ok=True)
    assert (gone.in_flight, gone.unanswered, gone.unread) == (0, 0, 0.0)


# --- learning


def test_the_quicker_of_two_gets_more() -> None:
    """Rates are learned for each endpoint: of two kinds of GPU, the one that reads four times as fast has four times the
    unread tokens given to it."""
    pool = Pool(2)
    slow, quick = pool.all
    for number in range(30):
        lease = pool.ask(prompt(f"warm up {number}"))
        pool.clock.advance(0.8 if lease.endpoint is slow else 0.2)
        lease.answered()
        lease.end(ok=True)
    assert quick.known.speed.rate == pytest.approx(4 * (slow.known.speed.rate or 0), rel=0.05)
    for number in range(50):
        pool.ask(prompt(f"cold {number}"))
    assert quick.in_flight == pytest.approx(40, abs=2)


def test_a_rate_is_what_was_read_over_what_it_took() -> None:
    """With usage told it is exact: tokens not cached over seconds to the first of the answer. A short prompt's wait says
    nothing of reading."""
    pool = Pool(2)
    lease = pool.ask(prompt("x", 64))
    pool.clock.advance(2.0)
    lease.answered()
    lease.usage(4000, 1000)
    lease.end(ok=True)
    assert lease.endpoint.known.speed.rate == pytest.approx(1500)
    short = pool.ask(Asked(prefix=prefix_of(b"hi")))
    pool.clock.advance(5.0)
    short.answered()
    short.end(ok=True)
    assert [endpoint.known.speed.rate for endpoint in pool.others(lease.endpoint)] == [None]
    assert pool.ask(prompt("y")).endpoint in pool.all


def test_a_rate_is_in_the_tokens_of_the_engine() -> None:
    """The first call is guessed at four bytes a token; what the engine counts is what was read, also before it has told of
    anything cached. Else an endpoint that was measured early would look slower than those measured late."""
    pool = Pool(2)
    lease = pool.ask(prompt("x", 64))
    pool.clock.advance(2.0)
    lease.answered()
    lease.usage(16_384, 0)
    lease.end(ok=True)
    assert lease.endpoint.known.speed.rate == pytest.approx(8192, rel=0.01)


def test_one_that_has_most_of_what_it_is_asked_does_not_look_slow() -> None:
    """A call that has 70 tokens to be read waits for everything but reading: 50 of them move the rate less than one long
    prompt does."""
    speed = Speed()
    for _ in range(10):
        speed.read(1500, 0.3, 0, quiet=True)
    for _ in range(50):
        speed.read(70, 0.02, 0, quiet=True)
    assert speed.rate == pytest.approx(5000, rel=0.1)
    for _ in range(10):
        speed.read(1500, 0.6, 0, quiet=True)
    assert speed.rate == pytest.approx(2500, rel=0.2), "what is really slower is soon known to be"


def test_a_whole_answer_says_nothing_of_reading() -> None:
    """Its first content is its last: no rate is learned from it. Its prompt counts as waited for only as long as reading it
    may take, for then it is written, which takes no one's turn."""
    pool = Pool(2)
    lease = pool.lease(prompt("x", 64), whole=True)
    assert lease is not None
    assert lease.endpoint.unread == pytest.approx(4096, abs=1)
    pool.clock.advance(4096 / FIRST_RATE)
    assert pool.ask(prompt("other")).endpoint is not lease.endpoint
    pool.clock.advance(4096 / FIRST_RATE)
    assert pool.ask(prompt("x", 64)).endpoint is lease.endpoint
    assert lease.endpoint.unanswered == 1
    pool.clock.advance(20)
    lease.answered()
    lease.end(ok=True)
    assert lease.endpoint.known.speed.rate is None
    assert lease.endpoint.known.speed.hold == pytest.approx(22, abs=0.1)
    assert lease.endpoint.in_flight == lease.endpoint.unanswered == 1


def test_bytes_of_a_token_are_learned() -> None:
    """What an engine counts in a prompt tells how long the next one is; nonsense moves it only so far."""
    pool = Pool(2)
    common = pool.common
    assert common is not None
    assert common.tokens(4096) == 1024
    for number in range(60):
        lease = pool.ask(prompt(str(number), 16))
        lease.answered()
        lease.usage(2 * 17 * 64, 0)
        lease.end(ok=True)
    assert common.tokens(4096) == pytest.approx(2048, rel=0.1)
    for _ in range(200):
        common.counted(10**9, 64)
        common.counted(0, 10**9)
    assert common.tokens(16) >= 1


def serve(pool: Pool, cached: float, calls: int) -> Endpoint:
    """Calls of one warm prompt, of which the engine says this share was cached."""
    endpoint = pool.home(prompt("warm", 32))
    for _ in range(calls):
        lease = pool.ask(prompt("warm", 32))
        assert lease.endpoint is endpoint
        lease.answered()
        tokens = 33 * BLOCK // 4
        lease.usage(tokens, int(cached * tokens))
        lease.end(ok=True)
    return endpoint


def test_a_memory_that_promises_too_much_is_shortened() -> None:
    """While less than half of what we thought cached is cached, we think that an endpoint holds half of that; when we are
    right again, more, but never more than it began with."""
    pool = Pool(2)
    home = pool.home(prompt("warm", 32))
    for number in range(10):
        lease = pool.lease(prompt(f"other {number}", 100), set(pool.others(home)))
        assert lease is not None
        lease.answered()
        lease.end(ok=True)
    assert len(home.known.held) == 1032
    assert serve(pool, 0.2, ENOUGH_CALLS) is home
    assert home.known.held.room == len(home.known.held) == 1032 // 2
    assert home.known.held.match(prompt("warm", 32).prefix.blocks) == 32, "the newest stays"
    serve(pool, 0.2, 4 * ENOUGH_CALLS)
    assert home.known.held.room == 32
    serve(pool, 1.0, 60 * ENOUGH_CALLS)
    assert home.known.held.room == MOST


def test_prompts_that_are_being_read_are_not_missed() -> None:
    """A prediction is judged by calls that found little to be read before them: in a burst of one new prompt none can have
    it from a cache, and nothing is wrong with what we thought."""
    pool = Pool(2)
    pool.all[1].healthy = False
    pool.all[0].known.hits.tells = True
    for number in range(4 * ENOUGH_CALLS):
        burst = [pool.ask(prompt(f"new {number}", 32)) for _ in range(4)]
        for lease in burst:
            lease.answered()
            lease.usage(33 * BLOCK // 4, 0)
            lease.end(ok=True)
    assert pool.all[0].known.held.room == MOST


def test_an_engine_that_never_tells_is_believed() -> None:
    """Zero cached tokens from an engine that has never told of any means that it does not tell."""
    pool = Pool(2)
    assert serve(pool, 0.0, 5 * ENOUGH_CALLS).known.held.room == MOST


def test_the_size_of_a_cache_is_the_engines_word() -> None:
    """Blocks times tokens, in bytes as learned; and all endpoints together have a bound."""
    pool = Pool(2)
    for endpoint in pool.all:
        endpoint.reading = reading(pool, blocks=1000, block_tokens=16)
    pool.ask(NOTHING)
    assert {endpoint.known.held.room for endpoint in pool.all} == {1000 * 16 * 4 // BLOCK}
    many = Pool(40)
    many.ask(NOTHING)
    assert sum(endpoint.known.held.room for endpoint in many.all) <= MOST_OF_A_POOL
    many.keep([endpoint.url for endpoint in many.all[:2]])
    many.ask(NOTHING)
    assert {endpoint.known.held.room for endpoint in many.all} == {MOST}


# --- ends


def test_an_end_counts_once_and_nothing_counts_after_it() -> None:
    """However often a call is ended, answered and accounted for, in whatever order: its counts are given back once."""
    pool = Pool(2)
    other = pool.ask(prompt("other", 64))
    lease = pool.ask(prompt("x", 64))
    lease.end(ok=True)
    for _ in range(3):
        lease.answered()
        lease.usage(1, 1)
        lease.end(ok=False)
    assert [endpoint.in_flight for endpoint in pool.all if endpoint is not other.endpoint] == [0]
    assert other.endpoint.in_flight == other.endpoint.unanswered == 1
    assert other.endpoint.failures == lease.endpoint.failures == 0


def test_what_nobody_ended_is_ended_in_time() -> None:
    """A lease that its caller forgot gives its counts back when its time is over, and is counted as forgotten."""
    pool = Pool(2)
    short, long = pool.lease(prompt("a"), lasts=30.0), pool.ask(prompt("b"))
    assert short is not None
    pool.clock.advance(31)
    pool.ask(prompt("c")).end(ok=True)
    assert pool.forgotten == 1
    assert sum(endpoint.in_flight for endpoint in pool.all) == 1
    pool.clock.advance(LONGEST_CALL)
    pool.ask(prompt("d")).end(ok=True)
    assert pool.forgotten == 2
    assert sum(endpoint.in_flight for endpoint in pool.all) == 0
    long.end(ok=True)
    assert sum(endpoint.in_flight for endpoint in pool.all) == 0


def test_a_pick_says_why() -> None:
    """In numbers and fixed words: what matched, what is before it, and the wait to be expected."""
    pool = Pool(2)
    assert pool.ask(prompt("x", 16)).picked == f"prefix 0/1024 tok, queue 0 tok, {1024 / FIRST_RATE:.2f} s"
    assert Endpoints(["http://a", "http://b"], "round_robin", ManualClock()).lease().picked == "round_robin"
    assert set(pool.blocks()) == {"h0:80", "h1:80"}
    assert sum(pool.blocks().values()) == 16


# --- limits and failures


def test_one_at_its_limit_is_left_alone_as_long_as_it_says() -> None:
    """A refusal with a time is no failure: others are asked first until it is over, and it has not got the prompt. Where
    all are at their limits, they are asked all the same."""
    pool = Pool(2)
    lease = pool.ask(prompt("x"))
    lease.refused(3.0)
    lease.end(ok=True)
    full, other = lease.endpoint, pool.others(lease.endpoint)[0]
    assert full.failures == 0
    assert len(full.known.held) == 0
    assert {pool.home(prompt(str(n))) for n in range(9)} == {other}
    other.full(pool.clock.now(), None)
    assert pool.home(prompt("y")) in pool.all
    pool.clock.advance(3.0)
    assert full in {pool.home(prompt(f"later {n}")) for n in range(20)}


@pytest.mark.parametrize(("asked", "pause"), [(None, FIRST_PAUSE), (0.2, 0.2), (-5.0, 0.0), (86400.0, LONGEST_PAUSE)])
def test_a_pause_is_bounded(asked: float | None, pause: float) -> None:
    """Whatever an endpoint asks for, it is asked again in seconds: a limit is short, or it is not this endpoint's."""
    pool = Pool(2)
    endpoint = pool.all[0]
    endpoint.full(pool.clock.now(), asked)
    assert endpoint.full_until == int(pause * 1e9)
    pool.clock.advance(pause)
    assert endpoint.ready(pool.clock.now())


def test_what_was_not_read_is_not_held() -> None:
    """A call that failed before its first content leaves only what was there before it; one whose client left may have
    been read, and is believed."""
    pool = Pool(2)
    home = pool.home(prompt("kept"))
    for ok in (False, True):
        lease = pool.lease(prompt("lost"), set(pool.others(home)))
        assert lease is not None
        lease.end(ok=ok)
        assert home.known.held.match(prompt("lost").prefix.blocks) == 0
        assert home.known.held.match(prompt("kept").prefix.blocks) == 16
    lease = pool.lease(prompt("left"), set(pool.others(home)))
    assert lease is not None
    lease.end(ok=None)
    assert home.known.held.match(prompt("left").prefix.blocks) == 16
