"""A client that waits for its stream is told that somebody is there, and is promised nothing by it but a stream."""

from __future__ import annotations

import asyncio
from typing import Any

import anthropic
import openai
import pytest

from gateway.faults.steps import CLOSE, DONE, HANG, HEAD, Finish, Pause, Text
from tests.fixtures.gateway import Converse, Talk
from tests.fixtures.raw_client import CHAT, MESSAGES, Left, RawClient, asking, post

SOON = "20ms"
COMMENT, PING = b": keepalive\n\n", b'event: ping\ndata: {"type":"ping"}\n\n'
RESPONSES = "/v1/responses"
GEMINI = "/v1beta/models/m:streamGenerateContent"


def alive(after: str = SOON, **fields: Any) -> dict[str, Any]:
    """Model `m` at the upstream with a short patience, and `spare` to stand in."""
    model = {"targets": [{"provider": "up", "model": "m"}], "retry": {"attempts": 1}, "keepalive": after}
    return {"m": {**model, **fields}}


def request(path: str) -> bytes:
    if path == RESPONSES:
        return post(b'{"model": "m", "input": "hi", "stream": true}', path)
    if path == GEMINI:
        return post(b'{"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}', path + "?alt=sse")
    return post(asking(stream=True), path)


@pytest.mark.parametrize(
    ("path", "beat", "end"),
    [
        (CHAT, COMMENT, b"data: [DONE]"),
        (MESSAGES, PING, b"event: message_stop"),
        (RESPONSES, COMMENT, b"event: response.completed"),
        (GEMINI, b"\n\n", b'"finishReason":"STOP"'),
    ],
)
async def test_a_waiting_client_gets_headers_and_a_sign(talk: Converse, path: str, beat: bytes, end: bytes) -> None:
    """Its dialect's own, before a word of the answer; then the answer comes whole. Who answers is not told in advance."""
    async with talk(models=alive()) as t, Left(t), RawClient(t.url) as client:
        gate = asyncio.Event()
        t.upstream.script("m", [gate, "Hel", "lo"])
        await client.send(request(path))
        status, headers = await client.head()
        assert (status, headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        assert headers["x-tidegate-route"] == "default"
        assert not {"x-tidegate-provider", "x-tidegate-model", "x-tidegate-attempts"} & headers.keys()
        for _ in range(2):
            assert beat in await client.until(beat)
        gate.set()
        assert b"Hel" in await client.until(end)
        receipt = await t.receipt()
        assert (receipt.outcome, receipt.status) == ("ok", 200)
        assert receipt.beats >= 2


@pytest.mark.parametrize("stream", [False, True])
async def test_who_need_not_wait_gets_none(talk: Converse, stream: bool) -> None:
    """Nor does a client that waits for a whole answer, to which nothing can be said in between."""
    async with talk(models=alive("60s")) as t, Left(t):
        t.upstream.script("m", ["hello"])
        reply = await t.ask("hi", stream=stream)
        assert b"keepalive" not in reply.raw
        assert reply.header("provider") == "up"
        assert (await t.receipt()).beats == 0


async def test_a_whole_answer_is_waited_for_in_silence(talk: Converse) -> None:
    """And its error is a clean one, however long it took."""
    async with talk(models=alive("1ms", timeouts={"total": "150ms"})) as t, Left(t):
        t.upstream.script("m", [HANG])
        reply = await t.ask("hi")
        assert (reply.status, reply.error["code"]) == (504, "upstream_timeout")


async def test_never_means_never(talk: Converse) -> None:
    """0 leaves the clean error to whoever prefers it."""
    async with talk(models=alive("0s", timeouts={"ttft": "100ms"})) as t, Left(t):
        t.upstream.script("m", [HANG])
        reply = await t.ask("hi", stream=True)
        assert (reply.status, reply.error["code"]) == (504, "upstream_timeout")


async def test_after_a_sign_another_target_may_still_answer(talk: Converse) -> None:
    """Headers are out and no content is: the fallback's answer is the only one the client sees."""
    async with talk(models=alive(on_failure=["spare"])) as t, Left(t), RawClient(t.url) as client:
        gate = asyncio.Event()
        t.upstream.script("m", [gate, CLOSE])
        t.spare.script("m", ["from ", "spare"])
        await client.send(request(CHAT))
        await client.until(COMMENT)
        gate.set()
        told = await client.until(b"[DONE]")
        assert told.count(b'"role":"assistant"') == 1
        assert b"from " in told
        receipt = await t.receipt()
        assert [(a.why, a.outcome) for a in receipt.attempts] == [("first", "upstream_failed"), ("fallback", "ok")]
        assert (receipt.outcome, receipt.served_model) == ("ok", "spare")


@pytest.mark.parametrize(
    ("path", "error", "mark"),
    [(CHAT, b'data: {"error":', b"[DONE]"), (MESSAGES, b"event: error", b"message_stop")],
)
async def test_after_a_sign_a_failure_is_told_in_the_stream(
    talk: Converse, path: str, error: bytes, mark: bytes
) -> None:
    """Status 200 is out, so it is an error event and no end mark; the receipt says what the client saw."""
    async with talk(models=alive()) as t, Left(t), RawClient(t.url) as client:
        gate = asyncio.Event()
        t.upstream.script("m", [HEAD, gate, CLOSE])
        await client.send(request(path))
        status, _ = await client.head()
        await client.until(COMMENT if path == CHAT else PING)
        gate.set()
        told = await client.until(error)
        told += await client.until(b"0\r\n\r\n")
        assert mark not in told
        receipt = await t.receipt()
        assert (status, receipt.status, receipt.outcome) == (200, 200, "cut")


@pytest.mark.parametrize(("path", "end"), [(CHAT, b"[DONE]"), (MESSAGES, b"event: message_stop")])
async def test_after_a_sign_a_refusal_is_an_ending(talk: Converse, path: str, end: bytes) -> None:
    """Not the clean 400 it would have been: a stream that says from its start that a check stopped it."""
    sections: dict[str, Any] = {
        "guardrails": {"no": {"use": "phrases", "on": ["output"], "deny": ["bad word"], "action": "block",
                              "stream": "full", "on_error": "closed", "deadline": "1s"}},
        "routes": {"default": {"guardrails": ["no"]}},
    }  # fmt: skip
    async with talk(models=alive(), **sections) as t, Left(t), RawClient(t.url) as client:
        gate = asyncio.Event()
        t.upstream.script("m", [gate, "a bad word"])
        await client.send(request(path))
        await client.head()
        await client.until(COMMENT if path == CHAT else PING)
        gate.set()
        told = await client.until(end)
        assert b"bad word" not in told
        reason = b'"finish_reason":"content_filter"' if path == CHAT else b'"stop_reason":"refusal"'
        assert reason in told
        assert path == CHAT or told.count(b"event: message_start") == 1
        assert (await t.receipt()).outcome == "refused"


async def test_silence_between_words_is_kept_alive_too(talk: Converse) -> None:
    """A model that thinks, or a check that holds back: the connection is not idle."""
    async with talk(models=alive()) as t, Left(t), RawClient(t.url) as client:
        gate = asyncio.Event()
        t.upstream.script("m", ["Hel", gate, "lo"])
        await client.send(request(CHAT))
        await client.until(b"Hel")
        await client.until(COMMENT)
        gate.set()
        told = await client.until(b"[DONE]")
        assert b"lo" in told


async def test_who_waits_for_anothers_answer_is_kept_alive(talk: Converse) -> None:
    """An identical request under way is waited for as long as a model would be; that it is a hit is not told in advance."""
    routes = {"default": {"cache": {"exact": {"ttl": "1h"}}}}
    async with talk(server={"keepalive": SOON}, routes=routes) as t, Left(t), RawClient(t.url) as client:
        gate = asyncio.Event()
        t.upstream.script("m", [gate, "Hello"])
        leader = asyncio.create_task(t.ask("hi", max_tokens=9))
        await t.upstream.received(1)
        await client.send(request(CHAT))
        status, headers = await client.head()
        assert (status, "x-tidegate-cache" in headers) == (200, False)
        await client.until(COMMENT)
        gate.set()
        assert b"Hello" in await client.until(b"[DONE]")
        assert (await leader).text == "Hello"
        assert len(t.upstream.requests) == 1
        receipts = [await t.receipt(), await t.receipt()]
        assert sorted(receipt.cache for receipt in receipts) == ["hit", "miss"]


@pytest.mark.parametrize(("path", "end"), [(CHAT, b"[DONE]"), (MESSAGES, b"event: message_stop")])
async def test_a_slow_check_of_the_question_refuses_in_the_stream(talk: Converse, path: str, end: bytes) -> None:
    """A judge that takes its time: the client has had a sign by then, and no model is called."""
    check = {"use": "judge", "on": ["input"], "action": "block", "on_error": "closed", "deadline": "9s",
             "question": "Is this rude?", "judge": {"model": "spare"}}  # fmt: skip
    sections: dict[str, Any] = {"guardrails": {"rude": check}, "routes": {"default": {"guardrails": ["rude"]}}}
    async with talk(server={"keepalive": SOON}, **sections) as t, RawClient(t.url) as client:
        gate = asyncio.Event()
        t.spare.script("m", [gate, '{"answer": "yes"}'])
        await client.send(request(path))
        await client.head()
        await client.until(COMMENT if path == CHAT else PING)
        gate.set()
        told = await client.until(end)
        assert (b'"content_filter"' if path == CHAT else b'"refusal"') in told
        assert t.upstream.requests == []
        receipts = {receipt.route: receipt for receipt in (await t.receipt(), await t.receipt())}
        assert (receipts["default"].outcome, receipts["default"].status) == ("refused", 200)


async def test_the_deadline_ends_the_waiting(talk: Converse) -> None:
    """In the stream, as an error."""
    async with talk(models=alive()) as t, Left(t), RawClient(t.url) as client:
        t.upstream.script("m", [HANG])
        await client.send(post(asking(stream=True), x_tidegate_timeout_ms="150"))
        await client.until(COMMENT)
        assert b'"code":"timeout"' in await client.until(b"0\r\n\r\n")
        assert (await t.receipt()).error == "deadline_exceeded"


async def test_a_client_that_leaves_while_waiting_ends_it(talk: Converse) -> None:
    """A sign of life keeps no call alive for nobody."""
    async with talk(models=alive()) as t, Left(t):
        t.upstream.script("m", [HANG])
        async with RawClient(t.url) as client:
            await client.send(request(CHAT))
            await client.until(COMMENT)
            client.leave()
            assert (await t.receipt()).outcome == "client_gone"
        assert await t.upstream.requests[0].ended() == "left"


async def heard_by_openai(t: Talk) -> str:
    client = openai.AsyncOpenAI(base_url=f"{t.url}/v1", api_key="-", max_retries=0)
    stream = await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}], stream=True)
    return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])


async def heard_by_anthropic(t: Talk) -> str:
    client = anthropic.AsyncAnthropic(base_url=t.url, api_key="-", max_retries=0)
    messages: Any = [{"role": "user", "content": "hi"}]
    async with client.messages.stream(model="m", messages=messages, max_tokens=9) as stream:
        return await stream.get_final_text()


async def heard_by_google(t: Talk) -> str:
    genai = pytest.importorskip("google.genai")
    client = genai.Client(api_key="-", http_options={"base_url": t.url})
    stream = await client.aio.models.generate_content_stream(model="m", contents="hi")
    return "".join([chunk.text or "" async for chunk in stream])


@pytest.mark.parametrize("heard", [heard_by_openai, heard_by_anthropic, heard_by_google])
async def test_the_sdks_take_no_notice(talk: Converse, heard: Any) -> None:
    """Signs before the first event, between events and before the end: the official clients read the same answer."""
    async with talk(models=alive("2ms")) as t, Left(t):
        t.upstream.script("m", [Pause(1), Text("Hel"), Pause(1), Text("lo"), Pause(1), Finish(), DONE])
        assert await heard(t) == "Hello"
        assert (await t.receipt()).beats >= 3
