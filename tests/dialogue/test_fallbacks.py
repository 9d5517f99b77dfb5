"""Which model is asked instead goes by what went wrong, and the receipt says what that was."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.faults.steps import DONE, HANG, HEAD, Finish, Head, Text, Usage
from tests.fixtures.gateway import Converse, Reply, Talk
from tests.fixtures.raw_client import Left, RawClient, asking, post

FILTERED = [HEAD, Text("I"), Finish("content_filter"), Usage(prompt=20, completion=1), DONE]
FILTER = {"error": {"message": "The prompt triggered the content management policy", "code": "content_filter"}}
LONG = {"error": {"message": "This model's maximum context length is 8192 tokens", "code": "context_length_exceeded"}}


def falls_back(**fields: Any) -> dict[str, Any]:
    """Model `m` at the upstream; `spare`, at the other server, stands in for the causes named."""
    return {"m": {"targets": [{"provider": "up", "model": "m"}], "retry": {"attempts": 1}, **fields}}


async def story(t: Talk) -> list[tuple[str, str, str]]:
    """The receipt's attempts: why each was made, how it ended, and by what it was caused, without the address."""
    attempts = (await t.receipt()).attempts
    return [(attempt.why, attempt.outcome, attempt.cause.rpartition(" at ")[0]) for attempt in attempts]


def from_spare(reply: Reply) -> bool:
    return (reply.status, reply.text, reply.finish, reply.whole) == (200, "from spare", "stop", True)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_filtered_prompt_goes_to_the_model_for_it(talk: Converse, stream: bool) -> None:
    """And not to the one that stands in for failures, which would not be asked for a 400."""
    async with talk(models=falls_back(on_content_policy=["spare"])) as t, Left(t):
        t.upstream.reply("m", 400, FILTER)
        t.spare.script("m", ["from spare"])
        assert from_spare(await t.ask("hi", stream=stream))
        assert await story(t) == [("first", "content_refused", ""), ("content_policy", "ok", "content_refused")]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("hedge", [False, True])
async def test_a_filtered_answer_goes_there_while_nothing_is_out(talk: Converse, stream: bool, hedge: bool) -> None:
    """What the filter cut off is not shown, and what it cost is known."""
    more = {"hedge": {"after": "60s"}} if hedge else {}
    models = falls_back(on_content_policy=["spare"], price={"input": 1.0, "output": 1.0}, **more)
    async with talk(models=models) as t, Left(t):
        t.upstream.script("m", FILTERED if not stream else [item for item in FILTERED if item != Text("I")])
        t.spare.script("m", ["from spare"])
        assert from_spare(await t.ask("hi", stream=stream))
        receipt = await t.receipt()
        assert [(a.why, a.outcome) for a in receipt.attempts] == [
            ("first", "content_refused"),
            ("content_policy", "ok"),
        ]
        first = receipt.attempts[0]
        assert first.finish_reasons == ("content_filter",)
        assert first.cost_usd == pytest.approx(21e-6)


async def test_a_filter_after_the_first_words_ends_the_answer(talk: Converse) -> None:
    """Another model's words cannot follow these: the client is told as the upstream told it."""
    async with talk(models=falls_back(on_content_policy=["spare"])) as t, Left(t), RawClient(t.url) as client:
        gate = asyncio.Event()
        t.upstream.script("m", [*FILTERED[:2], gate, *FILTERED[2:]])
        await client.send(post(asking(stream=True)))
        await client.until(b'"I"')
        gate.set()
        assert b"data: [DONE]" in await client.until(b"[DONE]")
        assert await story(t) == [("first", "ok", "")]
        assert t.spare.requests == []


@pytest.mark.parametrize("stream", [False, True])
async def test_with_nobody_left_the_filter_is_told(talk: Converse, stream: bool) -> None:
    """An ending stays an ending with its finish reason, an error stays a 400 that clients know; failures' stand-ins are not
    asked."""
    async with talk(models=falls_back(on_failure=["spare"])) as t, Left(t):
        t.upstream.script("m", FILTERED)
        reply = await t.ask("hi", stream=stream)
        assert (reply.status, reply.finish) == (200, "content_filter")
        t.upstream.reply("m", 400, FILTER)
        reply = await t.ask("hi", stream=stream)
        assert (reply.status, reply.error["code"]) == (400, "content_filter")
        assert t.spare.requests == []


async def test_the_last_models_filter_is_told(talk: Converse) -> None:
    """Each of the models for it is asked once, in their order; the last one's word is the answer."""
    models = {
        **falls_back(on_content_policy=["spare", "third"]),
        "third": {"targets": [{"provider": "up", "model": "third"}]},
    }
    async with talk(models=models) as t, Left(t):
        t.upstream.reply("m", 400, FILTER)
        t.spare.script("m", FILTERED)
        t.upstream.script("third", FILTERED)
        reply = await t.ask("hi")
        assert (reply.status, reply.text, reply.finish) == (200, "I", "content_filter")
        assert [why for why, _, _ in await story(t)] == ["first", "content_policy", "content_policy"]


async def test_each_cause_has_its_own_way(talk: Converse) -> None:
    """A failure, then a prompt that is too long, then a filter: three models, three reasons."""
    models = {
        **falls_back(on_failure=["second"], on_context_overflow=["large"], on_content_policy=["spare"]),
        "second": {"targets": [{"provider": "up", "model": "second"}], "retry": {"attempts": 1}},
        "large": {"targets": [{"provider": "up", "model": "large"}], "retry": {"attempts": 1}},
    }
    async with talk(models=models) as t, Left(t):
        t.upstream.reply("m", 503, {"error": {"message": "busy"}})
        t.upstream.reply("second", 400, LONG)
        t.upstream.reply("large", 400, FILTER)
        t.spare.script("m", ["from spare"])
        assert from_spare(await t.ask("hi"))
        assert await story(t) == [
            ("first", "upstream_failed", ""),
            ("fallback", "context_overflow", "upstream_failed"),
            ("overflow", "content_refused", "context_overflow"),
            ("content_policy", "ok", "content_refused"),
        ]


@pytest.mark.parametrize("begun", [[], [Head(), {"choices": [{"index": 0, "delta": {"role": "assistant"}}]}]])
async def test_a_slow_first_token_is_a_reason(talk: Converse, begun: list[Any]) -> None:
    """Whether or not the reply has begun: no content within `ttft` means the next model, and the receipt says so."""
    models = falls_back(on_failure=["spare"], timeouts={"ttft": "120ms"})
    async with talk(models=models) as t, Left(t):
        t.upstream.script("m", [*begun, HANG])
        t.spare.script("m", ["from spare"])
        assert from_spare(await t.ask("hi", stream=True))
        assert await story(t) == [("first", "upstream_timeout", ""), ("fallback", "ok", "upstream_timeout (ttft)")]
        assert await t.upstream.requests[0].ended() == "left"


async def test_content_that_no_check_has_let_out_is_no_commitment(talk: Converse) -> None:
    """A stream that stands still while all of it is held back is replaced like one that never spoke."""
    checks = {
        "shape": {"use": "json_schema", "on": ["output"], "action": "block", "on_error": "closed", "deadline": "1s"}
    }
    models = falls_back(on_failure=["spare"], timeouts={"idle": "120ms"})
    routes = {"default": {"guardrails": ["shape"]}}
    asked = {"type": "json_object"}
    async with talk(models=models, guardrails=checks, routes=routes) as t, Left(t):
        t.upstream.script("m", ['{"a":', HANG])
        t.spare.script("m", ['{"a": 1}'])
        reply = await t.ask("hi", stream=True, response_format=asked)
        assert (reply.status, reply.text, reply.whole) == (200, '{"a": 1}', True)
        assert await story(t) == [("first", "upstream_timeout", ""), ("fallback", "ok", "upstream_timeout (idle)")]


async def test_a_retry_names_the_fault_and_the_place(talk: Converse) -> None:
    """Before it: which endpoint, and how the call there ended."""
    async with talk(models=falls_back(retry={"attempts": 2, "max_wait": "1s"})) as t, Left(t):
        t.upstream.sequence("m", "429-ms", ["again"])
        await t.ask("hi")
        first, second = (await t.receipt()).attempts
        assert (first.why, second.why) == ("first", "retry")
        assert second.cause == f"{first.outcome} at {first.endpoint}"
