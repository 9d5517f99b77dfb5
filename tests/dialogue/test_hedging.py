"""A call that says nothing for too long gets a second one beside it; one of the two is the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.faults.server import FaultServer
from gateway.faults.steps import CLOSE, DONE, HANG, HEAD, STOP, Item, Pause, Usage
from tests.fixtures.gateway import Converse, Talk
from tests.fixtures.raw_client import CHAT, Left, RawClient, asking, post

QUICK, NEVER = "20ms", "60s"
EMPTY = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]}


def hedged(after: str = QUICK, **fields: Any) -> dict[str, Any]:
    """Model `m`: first the upstream, then the spare, and a hedge after so long."""
    targets = [{"provider": "up", "model": "m", "weight": 1}, {"provider": "two", "model": "m", "weight": 0}]
    return {"m": {"targets": targets, "hedge": {"after": after}, **fields}}


def twins(upstream: FaultServer, spare: FaultServer, balance: str = "session") -> dict[str, Any]:
    """Provider `up` with both servers as its endpoints."""
    urls = [upstream.base_url, spare.base_url]
    return {"up": {"type": "openai-compatible", "endpoints": urls, "balance": balance}}


async def ended(t: Talk) -> list[tuple[str, str, str]]:
    """The one receipt's attempts: provider, why, outcome."""
    receipt = await t.receipt()
    assert receipt.outcome == "ok"
    assert len(t.ledger.all) == 1
    return [(attempt.provider, attempt.why, attempt.outcome) for attempt in receipt.attempts]


@pytest.mark.parametrize("stream", [False, True])
async def test_the_second_answers_for_a_slow_first(talk: Converse, stream: bool) -> None:
    """The client sees one whole answer, the slow upstream is told to stop, the receipt names both."""
    async with talk(models=hedged()) as t, Left(t):
        t.upstream.script("m", [HANG])
        t.spare.script("m", ["from ", "spare"])
        reply = await t.ask("hi", stream=stream)
        assert (reply.status, reply.text, reply.finish) == (200, "from spare", "stop")
        assert (reply.header("provider"), reply.header("attempts")) == ("two", "2")
        assert await ended(t) == [("up", "first", "cancelled"), ("two", "hedge", "ok")]
        assert await t.upstream.requests[0].ended() == "left"
        ports = [attempt.endpoint.rpartition(":")[2] for attempt in t.ledger.all[0].attempts]
        assert ports == [str(t.upstream.port), str(t.spare.port)]


@pytest.mark.parametrize("stream", [False, True])
async def test_the_first_may_still_win(talk: Converse, stream: bool) -> None:
    """Whoever gives content first is the answer; a hedge that was too late is dropped like any other."""
    async with talk(models=hedged()) as t, Left(t):
        gate = asyncio.Event()
        t.upstream.script("m", [gate, "from ", "first"])
        t.spare.script("m", [HANG])
        asked = asyncio.create_task(t.ask("hi", stream=stream))
        await t.spare.received(1)
        gate.set()
        reply = await asked
        assert (reply.text, reply.header("provider")) == ("from first", "up")
        assert await ended(t) == [("two", "hedge", "cancelled"), ("up", "first", "ok")]
        assert await t.spare.requests[0].ended() == "left"


async def test_an_upstream_in_time_is_not_hedged(talk: Converse) -> None:
    """Content within the time means one call."""
    async with talk(models=hedged(NEVER)) as t, Left(t):
        t.upstream.script("m", ["quick"])
        assert (await t.ask("hi")).text == "quick"
        assert await ended(t) == [("up", "first", "ok")]
        assert t.spare.requests == []


async def test_content_ends_the_race_for_good(talk: Converse) -> None:
    """After the first content no second call is made, however slow the rest comes."""
    async with talk(models=hedged()) as t, Left(t):
        t.upstream.script("m", ["slow", Pause(5), "ly"])  # five times what starts a hedge
        assert (await t.ask("hi", stream=True)).text == "slowly"
        assert t.spare.requests == []


async def test_an_empty_first_piece_is_no_content(talk: Converse) -> None:
    """Servers that open the stream at once and then think are hedged all the same."""
    async with talk(models=hedged()) as t, Left(t):
        t.upstream.script("m", [EMPTY, HANG])
        t.spare.script("m", ["spare"])
        assert (await t.ask("hi", stream=True)).text == "spare"
        first, _ = (await t.receipt()).attempts
        assert (first.outcome, first.status, first.ttft) == ("cancelled", 200, None)


@pytest.mark.parametrize("balance", ["session", "prefix", "least_inflight", "latency"])
async def test_a_single_target_is_hedged_at_its_other_endpoint(talk: Converse, balance: str) -> None:
    """The second call of the same target meets another replica, also where calls are kept together."""
    single = {"m": {"targets": [{"provider": "up", "model": "m"}], "hedge": {"after": QUICK}}}

    def providers(upstream: FaultServer, spare: FaultServer) -> dict[str, Any]:
        return twins(upstream, spare, balance)

    async with talk(models=single, providers=providers) as t, Left(t):
        calls: Iterator[list[Item]] = iter([[HANG], ["other"]])
        for server in (t.upstream, t.spare):
            server.script("m", lambda _asked: next(calls))
        reply = await t.ask("hi", stream=True, headers={"x-tidegate-session": "s"})
        assert reply.text == "other"
        assert len(t.upstream.requests) == len(t.spare.requests) == 1
        assert await ended(t) == [("up", "first", "cancelled"), ("up", "hedge", "ok")]


async def test_a_first_that_fails_leaves_the_race_to_the_second(talk: Converse) -> None:
    """A fault of one is no reason to give up the other."""
    async with talk(models=hedged()) as t, Left(t):
        fail, speak = asyncio.Event(), asyncio.Event()
        t.upstream.script("m", [fail, CLOSE])
        t.spare.script("m", [speak, "spare"])
        asked = asyncio.create_task(t.ask("hi", stream=True))
        await t.spare.received(1)
        fail.set()
        assert await t.upstream.requests[0].ended() == "cut"
        speak.set()
        assert (await asked).text == "spare"
        outcomes = await ended(t)
        assert outcomes == [("up", "first", "upstream_failed"), ("two", "hedge", "ok")]


async def test_two_that_fail_are_two_tries(talk: Converse) -> None:
    """With two attempts allowed there is no third call; the last fault is told."""
    async with talk(models=hedged(retry={"attempts": 2})) as t, Left(t):
        fail = asyncio.Event()
        t.upstream.script("m", [fail, CLOSE])
        t.spare.reply("m", 503, {"error": {"message": "busy"}})
        asked = asyncio.create_task(t.ask("hi", stream=True))
        await t.spare.received(1)
        fail.set()
        reply = await asked
        assert (reply.status, reply.error["code"]) == (502, "upstream_error")
        receipt = await t.receipt()
        assert sorted(attempt.why for attempt in receipt.attempts) == ["first", "hedge"]
        assert len(t.upstream.requests) + len(t.spare.requests) == 2


async def test_a_clients_mistake_ends_the_race(talk: Converse) -> None:
    """What another target would only repeat is told at once."""
    async with talk(models=hedged()) as t, Left(t):
        t.upstream.script("m", [HANG])
        t.spare.reply("m", 400, {"error": {"message": "bad temperature", "param": "temperature", "code": None}})
        reply = await t.ask("hi")
        assert (reply.status, reply.error["param"]) == (400, "temperature")
        assert await t.upstream.requests[0].ended() == "left"
        outcomes = {attempt.why: attempt.outcome for attempt in (await t.receipt()).attempts}
        assert outcomes == {"first": "cancelled", "hedge": "upstream_rejected"}


async def test_what_both_cost_is_told(talk: Converse) -> None:
    """The dropped call's tokens, as far as it told them, count in the one receipt's cost beside the answer's."""
    price = {"input": 1000.0, "output": 1000.0}
    async with talk(models=hedged(price=price)) as t, Left(t):
        t.upstream.script("m", [HEAD, Usage(prompt=100, completion=0, unasked=True), HANG])
        t.spare.script("m", ["ok", STOP, Usage(prompt=100, completion=20), DONE])
        reply = await t.ask("hi", stream=True)
        assert reply.text == "ok"
        receipt = await t.receipt()
        assert [attempt.cost_usd for attempt in receipt.attempts] == [pytest.approx(0.1), pytest.approx(0.12)]
        assert receipt.cost_usd == pytest.approx(0.22)
        assert receipt.usage is not None
        assert receipt.usage.input_tokens == 100


async def test_a_client_that_leaves_ends_both(talk: Converse) -> None:
    """Nobody waits, so nobody works: both upstreams are told, and both calls are in the one receipt."""
    async with talk(models=hedged()) as t, Left(t):
        for server in (t.upstream, t.spare):
            server.script("m", [HANG])
        async with RawClient(t.url) as client:
            await client.send(post(asking(stream=True), CHAT))
            await t.spare.received(1)
            client.leave()
            receipt = await t.receipt()
        assert receipt.outcome == "client_gone"
        assert sorted((attempt.why, attempt.outcome) for attempt in receipt.attempts) == [
            ("first", "cancelled"),
            ("hedge", "cancelled"),
        ]
        for server in (t.upstream, t.spare):
            assert await server.requests[0].ended() == "left"


async def test_the_deadline_ends_both(talk: Converse) -> None:
    """The caller's own deadline holds over the race."""
    async with talk(models=hedged()) as t, Left(t):
        for server in (t.upstream, t.spare):
            server.script("m", [HANG])
        reply = await t.ask("hi", headers={"x-tidegate-timeout-ms": "300"})
        assert (reply.status, reply.error["code"]) == (504, "timeout")
        assert len((await t.receipt()).attempts) == 2


async def test_a_slow_provider_does_not_get_twice_the_load(talk: Converse) -> None:
    """After a burst of ten, hedges stop until enough calls went without."""
    async with talk(models=hedged()) as t, Left(t):
        t.upstream.script("m", [Pause(3), "slow"])  # each call is slow enough for a hedge
        t.spare.script("m", [HANG])
        for _ in range(14):
            assert (await t.ask("hi", stream=True)).text == "slow"
        assert len(t.upstream.requests) == 14
        assert len(t.spare.requests) == 11


@pytest.mark.parametrize("stream", [False, True])
async def test_a_race_that_never_starts_changes_nothing(talk: Converse, stream: bool) -> None:
    """With a hedge that is not needed the answer comes in the same pieces as without one."""
    plain = {"p": {"targets": [{"provider": "up", "model": "m"}]}}
    async with talk(models={**hedged(NEVER), **plain}) as t, Left(t):
        t.upstream.script("m", ["a", "b", Pause(1), "c"])
        replies = [await t.ask("hi", model=model, stream=stream) for model in ("m", "p")]
        assert [reply.text for reply in replies] == ["abc", "abc"]
        pieces = [[event["choices"][0]["delta"] for event in reply.events] for reply in replies]
        assert pieces[0] == pieces[1]
