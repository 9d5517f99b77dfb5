"""Identical requests under way: one is asked of the model, the others are served its answer, and nobody waits for a leader
that is gone."""

from __future__ import annotations

import asyncio
from typing import Any

from gateway.faults.steps import HANG
from tests.fixtures.gateway import WAIT, Converse, Reply, Talk
from tests.fixtures.raw_client import RawClient, asking, post, until

CACHED = {"default": {"cache": {"exact": {"ttl": "1h"}}}}
TWO = {"m": {"targets": [{"provider": "up", "model": "m"}], "retry": {"attempts": 1}}}


def flights(t: Talk) -> dict[str, float]:
    return dict(t.gateway.caches.stats()["default.coalescing"])


async def following(t: Talk, count: int) -> None:
    await until(lambda: flights(t)["followers"] == count)


async def at_rest(t: Talk) -> None:
    """No answer in the making, nobody waiting, nothing under way."""
    await until(lambda: (flights(t)["flights"], flights(t)["followers"], t.gateway.spine.inflight) == (0, 0, 0))


def asked(t: Talk, count: int, text: str = "hi", **more: Any) -> list[asyncio.Task[Reply]]:
    """Under way at once; the same body as `asking` makes."""
    more = {"max_tokens": 9, **more}
    return [asyncio.create_task(t.ask(text, **more)) for _ in range(count)]


async def test_a_hundred_make_one_call(talk: Converse) -> None:
    """100 identical requests at one time, half of them streamed, make one upstream call and get one answer."""
    async with talk(routes=CACHED) as t:
        gate = asyncio.Event()
        t.upstream.script("m", ["Hel", gate, "lo"])
        tasks = asked(t, 50) + asked(t, 50, stream=True)
        await following(t, 99)
        gate.set()
        replies = await asyncio.gather(*tasks)
        assert len(t.upstream.requests) == 1
        assert {(r.status, r.text, r.finish) for r in replies} == {(200, "Hello", "stop")}
        assert sorted(str(r.header("cache")) for r in replies) == ["hit"] * 99 + ["miss"]
        receipts = [await t.receipt() for _ in replies]
        assert sorted(r.cache_reason for r in receipts) == [""] + ["coalesced"] * 99
        assert sum(len(r.attempts) for r in receipts) == 1
        assert all(r.usage is None for r in receipts if r.cache == "hit")
        assert flights(t)["coalesced"] == 99
        await at_rest(t)
        assert (await t.ask("hi", max_tokens=9)).header("cache") == "hit"


async def test_only_the_identical_wait(talk: Converse) -> None:
    """Another user, another text, another parameter, or a wish for a fresh answer: each its own call."""
    async with talk(routes=CACHED) as t:
        gate = asyncio.Event()
        t.upstream.script("m", [gate, "Hello"])
        tasks = [
            *asked(t, 1),
            *asked(t, 1, headers={"x-tidegate-user": "bob"}),
            *asked(t, 1, text="ho"),
            *asked(t, 1, temperature=0.5),
            *asked(t, 1, headers={"x-tidegate-cache-control": "no-cache"}),
            *asked(t, 1, headers={"x-tidegate-cache-control": "no-store"}),
        ]
        await t.upstream.received(6)
        assert flights(t)["followers"] == 0
        gate.set()
        assert {r.text for r in await asyncio.gather(*tasks)} == {"Hello"}
        await at_rest(t)


async def test_a_leader_that_leaves_hands_over(talk: Converse) -> None:
    """When the leader's client is gone its call is dropped, the next in line makes one, and the others wait on."""
    async with talk(routes=CACHED) as t:
        t.upstream.script("m", ["Hel", HANG])
        async with RawClient(t.url) as leader:
            await leader.send(post(asking("hi", stream=True)))
            await leader.until(b"Hel")
            tasks = asked(t, 5)
            await following(t, 5)
            t.upstream.script("m", ["Hello"])
            leader.leave()
            replies = await asyncio.gather(*tasks)
        assert {r.text for r in replies} == {"Hello"}
        assert len(t.upstream.requests) == 2
        assert await t.upstream.requests[0].ended() == "left"
        assert flights(t)["handovers"] == 1
        await at_rest(t)


async def test_a_follower_that_leaves_is_forgotten(talk: Converse) -> None:
    """Also while it waits a client that hangs up is noticed, and is not the one that the leader hands over to."""
    async with talk(routes=CACHED) as t:
        t.upstream.script("m", ["Hel", HANG])
        async with RawClient(t.url) as leader, RawClient(t.url) as second:
            await leader.send(post(asking("hi", stream=True)))
            await leader.until(b"Hel")
            await second.send(post(asking("hi", stream=True)))
            await following(t, 1)
            tasks = asked(t, 1)
            await following(t, 2)
            second.leave()
            await following(t, 1)
            assert (await t.receipt()).outcome == "client_gone"
            t.upstream.script("m", ["Hello"])
            leader.leave()
            assert (await tasks[0]).text == "Hello"
        assert len(t.upstream.requests) == 2
        await at_rest(t)


async def test_an_error_is_not_shared(talk: Converse) -> None:
    """Only the leader gets its error; the next asks again and its answer serves the rest."""
    async with talk(routes=CACHED, models=TWO) as t:
        gate = asyncio.Event()
        t.upstream.script("m", [gate, {"error": {"message": "broken", "type": "server_error"}}])
        first = asked(t, 1, stream=True)
        await t.upstream.received(1)
        rest = asked(t, 4, stream=True)
        await following(t, 4)
        t.upstream.script("m", ["Hello"])
        gate.set()
        assert (await first[0]).status >= 500
        assert {r.text for r in await asyncio.gather(*rest)} == {"Hello"}
        assert len(t.upstream.requests) == 2
        await at_rest(t)


async def test_after_two_failures_all_go_alone(talk: Converse) -> None:
    """An upstream that fails is asked at most twice in a row before nobody waits any more; each gets its own error."""
    async with talk(routes=CACHED, models=TWO) as t:
        gate = asyncio.Event()
        t.upstream.script("m", [gate, {"error": {"message": "broken", "type": "server_error"}}])
        tasks = asked(t, 5, stream=True)
        await following(t, 4)
        gate.set()
        assert {r.status >= 500 for r in await asyncio.gather(*tasks)} == {True}
        assert flights(t)["handovers"] == 1
        assert len(t.upstream.requests) == 5
        await at_rest(t)


async def test_what_may_not_be_stored_is_not_shared(talk: Converse) -> None:
    """A truncated answer belongs to the one who asked; the others ask for themselves, all at once."""
    async with talk(routes=CACHED) as t:
        gate = asyncio.Event()
        cut = {"choices": [{"index": 0, "delta": {"content": "Hel"}, "finish_reason": "length"}]}
        t.upstream.script("m", [gate, cut])
        tasks = asked(t, 4, stream=True)
        await following(t, 3)
        gate.set()
        replies = await asyncio.gather(*tasks)
        assert {(r.text, r.finish, r.header("cache")) for r in replies} == {("Hel", "length", "miss")}
        assert len(t.upstream.requests) == 4
        assert flights(t)["handovers"] == 0
        await at_rest(t)


async def test_a_follower_keeps_its_own_deadline(talk: Converse) -> None:
    """Half of its time it waits, then it asks the model itself, and gets an answer though the leader never does."""
    async with talk(routes=CACHED) as t:
        t.upstream.script("m", ["Hel", HANG])
        async with RawClient(t.url) as leader:
            await leader.send(post(asking("hi", stream=True)))
            await leader.until(b"Hel")
            t.upstream.script("m", ["Hello"])
            reply = await t.ask("hi", max_tokens=9, headers={"x-tidegate-timeout-ms": "2000"})
            assert (reply.text, reply.header("cache")) == ("Hello", "miss")
            waited = next(s for s in (await t.receipt()).timeline if s.name == "coalesce")
            assert 0.8e9 < waited.end - waited.start < 2e9
            assert flights(t) == {"flights": 1, "followers": 0, "coalesced": 0, "handovers": 0}
        await at_rest(t)


async def test_leaders_leave_one_after_the_other(talk: Converse) -> None:
    """However many leaders leave, one call is under way at a time, and the last one asks and is answered."""
    async with talk(routes=CACHED) as t:
        t.upstream.script("m", ["Hel", HANG])
        clients = [RawClient(t.url) for _ in range(6)]
        for at, client in enumerate(clients):
            await client.__aenter__()
            await client.send(post(asking("hi", stream=True)))
            await until(lambda at=at: flights(t) == {**flights(t), "flights": 1, "followers": at})
        (last,) = asked(t, 1)
        await following(t, 6)
        for at, client in enumerate(clients):
            await t.upstream.received(at + 1)
            await client.until(b"Hel")
            assert t.upstream.inflight == 1
            if at == len(clients) - 1:
                t.upstream.script("m", ["Hello"])
            client.leave()
            await t.upstream.requests[at].ended(within=WAIT)
        assert (await last).text == "Hello"
        assert len(t.upstream.requests) == 7
        assert flights(t)["handovers"] == 6
        for client in clients:
            await client.__aexit__(None, None, None)
        await at_rest(t)
