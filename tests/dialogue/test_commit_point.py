"""Before the first released content another target may be tried; after it only the truth is left to tell."""

from __future__ import annotations

import pytest

from gateway.faults.play import Play
from gateway.faults.steps import CLOSE
from tests.fixtures.gateway import Converse

TWO = {
    "m": {
        "targets": [{"provider": "up", "model": "m"}],
        "on_failure": ["spare"],
        "retry": {"attempts": 1},
    }
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [500, 502, 503, 429])
async def test_a_failure_before_content_goes_to_the_next_target(talk: Converse, stream: bool, status: int) -> None:
    """The client sees one good answer; the receipt says that two were asked."""
    async with talk(models=TWO) as t:
        t.upstream.reply("m", status, {"error": {"message": "no", "type": "server_error"}})
        t.spare.script("m", ["from spare"])
        reply = await t.ask("hi", stream=stream)
        assert (reply.status, reply.text) == (200, "from spare")
        assert reply.header("model") == "spare"
        assert reply.header("attempts") == "2"
        receipt = await t.receipt()
        assert [attempt.why for attempt in receipt.attempts] == ["first", "fallback"]
        assert receipt.outcome == "ok"


async def test_a_clients_mistake_is_not_tried_elsewhere(talk: Converse) -> None:
    """A 400 of the upstream is the client's to know, and another target would say the same."""
    async with talk(models=TWO) as t:
        t.upstream.reply(
            "m", 400, {"error": {"message": "bad temperature", "type": "x", "param": "temperature", "code": None}}
        )
        reply = await t.ask("hi")
        assert (reply.status, reply.error["param"]) == (400, "temperature")
        assert t.spare.requests == []


@pytest.mark.parametrize("pieces", [["Hel", "lo", CLOSE], ["Hel", CLOSE]])
async def test_a_cut_stream_is_never_made_to_look_whole(talk: Converse, pieces: list[object]) -> None:
    """After content went out, a break is an error in the stream and no `[DONE]`; no other target is asked."""
    async with talk(models=TWO) as t:
        t.upstream.script("m", pieces)
        reply = await t.ask("hi", stream=True)
        assert reply.status == 200
        assert not reply.done
        assert reply.finish is None
        assert reply.error["code"] == "stream_cut"
        assert t.spare.requests == []
        receipt = await t.receipt()
        assert (receipt.outcome, receipt.error) == ("cut", "stream_cut")


async def test_a_cut_answer_that_is_not_streamed_is_tried_elsewhere(talk: Converse) -> None:
    """Nothing was released, so the next target may answer instead."""
    async with talk(models=TWO) as t:
        t.upstream.script("m", ["Hel", CLOSE])
        t.spare.script("m", ["whole"])
        reply = await t.ask("hi")
        assert (reply.status, reply.text) == (200, "whole")


async def test_when_every_target_fails_the_last_fault_is_told(talk: Converse) -> None:
    """One clear 502 without the upstream's own words."""
    async with talk(models=TWO) as t:
        for server in (t.upstream, t.spare):
            server.reply("m", 500, "secret stack trace")
        reply = await t.ask("hi")
        assert (reply.status, reply.error["code"]) == (502, "upstream_error")
        assert b"secret" not in reply.raw
        receipt = await t.receipt()
        assert (receipt.outcome, len(receipt.attempts)) == ("upstream_error", 3)


async def test_a_retry_asks_the_same_target_again(talk: Converse) -> None:
    """One hiccup is not seen by the client."""
    async with talk() as t:
        t.upstream.sequence("m", "500", _ok())
        reply = await t.ask("hi")
        assert (reply.status, reply.header("attempts")) == (200, "2")


async def test_an_sdks_own_retry_gets_no_second_try_of_ours(talk: Converse) -> None:
    """SDKs retry too; ours on top of theirs would multiply."""
    async with talk() as t:
        t.upstream.sequence("m", "500", _ok())
        reply = await t.ask("hi", headers={"x-stainless-retry-count": "1"})
        assert (reply.status, len(t.upstream.requests)) == (502, 1)


def _ok() -> Play:
    return Play(["fine"])
