"""Every wait has an end: each clock names itself, the exchange's deadline is over all of them, and nothing hangs on."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from gateway.faults.play import Play
from gateway.faults.steps import HANG, Data, Forever, Head, Pause, Text
from tests.fixtures.gateway import Converse, Reply, Talk
from tests.fixtures.raw_client import Left, RawClient, asking, post

HANGS = ["hang-before-headers", "hang-after-headers"]
ALL = ["hang-before-headers", "hang-after-headers", "hang-midway", "endless", "only-comments"]


def timed(fallback: bool = False, attempts: int = 1, **timeouts: str) -> dict[str, Any]:
    model: dict[str, Any] = {"targets": [{"provider": "up", "model": "m"}], "retry": {"attempts": attempts}}
    if fallback:
        model["on_failure"] = ["spare"]
    return {"m": {**model, "timeouts": timeouts}}


async def within(low: float, high: float, asked: Any) -> Reply:
    """The reply, which must take this long. The upper bound is generous: what is tested is which clock ended it."""
    began = time.perf_counter()
    reply: Reply = await asked
    took = time.perf_counter() - began
    assert low <= took < high, took
    return reply


async def dropped(t: Talk) -> None:
    """Every upstream call was broken off by us."""
    for request in t.upstream.requests:
        assert await request.ended() == "left"


@pytest.mark.parametrize("fault", HANGS)
async def test_ttft_bounds_the_wait_for_the_first_token(talk: Converse, fault: str) -> None:
    """A stream without a first token is a 504 after `ttft`, headers or not."""
    async with talk(models=timed(ttft="200ms", total="30s")) as t, Left(t):
        t.upstream.sequence("m", fault)
        reply = await within(0.19, 5, t.ask("hi", stream=True))
        assert (reply.status, reply.error["code"]) == (504, "upstream_timeout")
        assert "token" in reply.error["message"]
        assert (await t.receipt()).attempts[0].outcome == "upstream_timeout"
        await dropped(t)


@pytest.mark.parametrize("fault", HANGS)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_target_that_hangs_is_replaced(talk: Converse, fault: str, stream: bool) -> None:
    """Before content went out a time-out is like any failure: the next target answers."""
    async with talk(models=timed(fallback=True, ttft="150ms", total="250ms")) as t, Left(t):
        t.upstream.sequence("m", fault)
        t.spare.script("m", ["from spare"])
        reply = await t.ask("hi", stream=stream)
        assert (reply.status, reply.text) == (200, "from spare")
        assert [a.outcome for a in (await t.receipt()).attempts] == ["upstream_timeout", "ok"]
        await dropped(t)


async def test_the_caller_may_give_less_time_to_begin(talk: Converse) -> None:
    """By header: each call is given up after it, the model's own limit notwithstanding, and the next target is asked."""
    async with talk(models=timed(fallback=True, ttft="30s", total="60s")) as t, Left(t):
        t.upstream.sequence("m", "hang-after-headers")
        t.spare.script("m", ["from spare"])
        asked = t.ask("hi", stream=True, headers={"x-tidegate-ttft-timeout-ms": "150"})
        assert (await within(0.14, 5, asked)).text == "from spare"
        assert [a.outcome for a in (await t.receipt()).attempts] == ["upstream_timeout", "ok"]


async def test_comments_are_no_token(talk: Converse) -> None:
    """An upstream that only keeps the connection alive gives no first token."""
    async with talk(models=timed(ttft="200ms", idle="10s", total="30s")) as t, Left(t):
        t.upstream.sequence("m", "only-comments")
        reply = await within(0.19, 5, t.ask("hi", stream=True))
        assert (reply.status, reply.error["code"]) == (504, "upstream_timeout")
        await dropped(t)


async def test_a_role_is_no_token(talk: Converse) -> None:
    """Neither is the first event with nothing in it but the role."""
    async with talk(models=timed(ttft="200ms", total="30s")) as t, Left(t):
        role = {"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"role": "assistant"}}]}
        t.upstream.script("m", [role, HANG])
        reply = await within(0.19, 5, t.ask("hi", stream=True))
        assert (reply.status, reply.error["code"]) == (504, "upstream_timeout")


async def test_idle_bounds_the_silence_between_tokens(talk: Converse) -> None:
    """After content went out, silence is an error in the stream; no other target is asked."""
    async with talk(models=timed(fallback=True, ttft="5s", idle="200ms", total="30s")) as t, Left(t):
        t.upstream.sequence("m", "hang-midway")
        reply = await within(0.19, 5, t.ask("hi", stream=True))
        assert (reply.status, reply.text, reply.done, reply.finish) == (200, "Hello from", False, None)
        assert reply.error["code"] == "upstream_timeout"
        assert t.spare.requests == []
        receipt = await t.receipt()
        assert (receipt.outcome, receipt.error, receipt.status) == ("upstream_error", "upstream_timeout", 200)
        await dropped(t)


async def test_slow_but_steady_is_not_idle(talk: Converse) -> None:
    """The idle clock starts again with each token."""
    async with talk(models=timed(ttft="300ms", idle="300ms", total="30s")) as t, Left(t):
        t.upstream.script("m", [piece for word in "abcdefghij" for piece in (word, Pause(3))])
        reply = await within(0.5, 8, t.ask("hi", stream=True))
        assert (reply.text, reply.done) == ("abcdefghij", True)


async def test_total_bounds_a_stream_that_never_ends(talk: Converse) -> None:
    """However lively it is."""
    async with talk(models=timed(ttft="5s", idle="5s", total="300ms")) as t, Left(t):
        t.upstream.script("m", [Forever(Text("on "))])
        reply = await within(0.29, 5, t.ask("hi", stream=True))
        assert reply.text.startswith("on on ")
        assert (reply.error["code"], reply.done) == ("upstream_timeout", False)
        await dropped(t)


@pytest.mark.parametrize("fault", ALL)
async def test_total_bounds_an_answer_that_is_not_streamed(talk: Converse, fault: str) -> None:
    """Its first byte comes when the model is done, so there is one clock for it."""
    async with talk(models=timed(ttft="50ms", idle="50ms", total="300ms")) as t, Left(t):
        t.upstream.sequence("m", fault)
        reply = await within(0.29, 5, t.ask("hi"))
        assert (reply.status, reply.error["code"]) == (504, "upstream_timeout")
        await dropped(t)


async def test_ttft_is_not_for_answers_that_are_not_streamed(talk: Converse) -> None:
    """A whole answer may take longer than a first token."""
    async with talk(models=timed(ttft="50ms", idle="50ms", total="10s")) as t, Left(t):
        t.upstream.script("m", [Pause(10), "late"])
        assert (await t.ask("hi")).text == "late"


# --- the deadline over all


@pytest.mark.parametrize("fault", ALL)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_names_its_own_deadline(talk: Converse, fault: str, stream: bool) -> None:
    """`x-tidegate-timeout-ms` is over everything: 504 `timeout` before content, an error in the stream after it."""
    async with talk() as t, Left(t):
        t.upstream.sequence("m", fault)
        reply = await within(0.29, 5, t.ask("hi", stream=stream, headers={"x-tidegate-timeout-ms": "300"}))
        said = stream and fault in ("hang-midway", "endless")
        assert (reply.status, reply.error["code"]) == (200 if said else 504, "timeout")
        assert not reply.done
        receipt = await t.receipt()
        assert (receipt.outcome, receipt.error) == ("gateway_error", "deadline_exceeded")
        assert receipt.attempts[-1].outcome == "cancelled"
        await dropped(t)


async def test_an_sdks_time_out_is_its_deadline(talk: Converse) -> None:
    """SDKs say how long they will wait; an answer after that would be read by nobody."""
    async with talk() as t, Left(t):
        t.upstream.sequence("m", "hang-before-headers")
        reply = await within(0.29, 5, t.ask("hi", headers={"x-stainless-read-timeout": "0.3"}))
        assert (reply.status, reply.error["code"]) == (504, "timeout")


@pytest.mark.parametrize("given", ["nonsense", "-5", "0", "nan", "inf", "1e400", "99999999999"])
async def test_the_operators_limit_stands(talk: Converse, given: str) -> None:
    """A client can ask for less time, never for more; what makes no sense is not heard."""
    async with talk(server={"timeout": "300ms"}) as t, Left(t):
        t.upstream.sequence("m", "hang-before-headers")
        reply = await within(0.29, 5, t.ask("hi", headers={"x-tidegate-timeout-ms": given}))
        assert (reply.status, reply.error["code"]) == (504, "timeout")


async def test_the_deadline_is_over_the_whole_chain(talk: Converse) -> None:
    """Retries and fallbacks share one deadline: two targets of 400 ms do not make 800."""
    async with talk(models=timed(fallback=True, attempts=3, ttft="250ms", total="250ms")) as t, Left(t):
        for server in (t.upstream, t.spare):
            server.sequence("m", "hang-before-headers")
        reply = await within(0.39, 5, t.ask("hi", headers={"x-tidegate-timeout-ms": "400"}))
        assert (reply.status, reply.error["code"]) == (504, "timeout")
        outcomes = [attempt.outcome for attempt in (await t.receipt()).attempts]
        assert outcomes == ["upstream_timeout", "cancelled"]


async def test_a_wait_that_ends_after_the_deadline_is_not_begun(talk: Converse) -> None:
    """A Retry-After beyond the deadline is told to the client at once, who can decide better."""
    async with talk() as t, Left(t):
        t.upstream.reply("m", 429, {"error": {"message": "slow down"}}, retry_after="5")
        reply = await within(0, 2, t.ask("hi", headers={"x-tidegate-timeout-ms": "3000"}))
        assert (reply.status, reply.headers["retry-after"]) == (429, "5")
        assert len(t.upstream.requests) == 1


async def test_a_wait_over_the_limit_is_not_begun(talk: Converse) -> None:
    """`retry.max_wait` bounds how long an upstream can make us wait; a day is told as a minute at most."""
    async with talk() as t, Left(t):
        t.upstream.sequence("m", "429-day")
        reply = await within(0, 2, t.ask("hi"))
        assert (reply.status, reply.headers["retry-after"], len(t.upstream.requests)) == (429, "60", 1)


async def test_a_short_wait_is_kept(talk: Converse) -> None:
    """An upstream that says when to come again is asked then, and not before."""
    async with talk() as t, Left(t):
        t.upstream.sequence("m", "429-ms", Play(["fine"]))
        reply = await within(0.14, 5, t.ask("hi"))
        assert (reply.status, reply.text, reply.header("attempts")) == (200, "fine", "2")
        first, second = t.upstream.requests
        assert second.at - first.at >= 0.15


async def test_the_body_counts_against_the_deadline(talk: Converse) -> None:
    """The deadline starts with the request's head, not with its last byte."""
    async with talk() as t, Left(t), RawClient(t.url) as client:
        began = time.perf_counter()
        await client.send(post(asking()[:10], length=100, x_tidegate_timeout_ms="200"))
        answer = await client.answer()
        assert time.perf_counter() - began < 3
        assert (answer.status, answer.json["error"]["code"]) == (504, "timeout")
        assert answer.closed
        assert (await t.receipt()).error == "deadline_exceeded"


async def test_many_hanging_calls_leave_nothing(talk: Converse) -> None:
    """Sixty calls hang and end by their deadlines; nothing of them is left."""
    async with talk() as t, Left(t):
        t.upstream.script("m", [Head(), Data(b": \n\n"), HANG])
        asked = [t.ask("hi", stream=bool(n % 2), headers={"x-tidegate-timeout-ms": "400"}) for n in range(60)]
        replies = await asyncio.gather(*asked)
        assert {(reply.status, reply.error["code"]) for reply in replies} <= {(504, "timeout"), (502, "upstream_error")}
        assert len([await t.receipt() for _ in replies]) == 60
        await t.upstream.idle()
