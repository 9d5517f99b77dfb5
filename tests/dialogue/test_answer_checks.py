"""Checks that judge answers as answers, over real sockets: in every dialect, streamed and whole."""

from __future__ import annotations

import re
from typing import Any

import pytest

from gateway.faults.play import Play
from gateway.faults.steps import Finish, Reasoning, Tool
from tests.fixtures.gateway import Converse, Reply, Talk

STREAMS = pytest.mark.parametrize("stream", [False, True])
DIALECTS = pytest.mark.parametrize("dialect", ["openai", "anthropic", "responses", "gemini"])
SCHEMA = {"type": "object", "properties": {"to": {"type": "string"}}, "required": ["to"], "additionalProperties": False}
SYSTEM = "You are the assistant of the harbour office."
LOOP = "I will check the file again to make sure that it is right. "


def sections(check: dict[str, Any]) -> dict[str, Any]:
    given = {"on": ["output"], "action": "block", "on_error": "closed", "deadline": "5s", **check}
    return {
        "models": {"m": {"targets": [{"provider": "up", "model": "m"}], "on_failure": ["spare"]}},
        "guardrails": {"check": given},
        "routes": {"default": {"guardrails": ["check"]}},
        "server": {"secret": "a secret for this test only"},
    }


async def ask(t: Talk, dialect: str, stream: bool, *, tools: bool = False) -> Reply:
    """One question, as each dialect asks it."""
    body: dict[str, Any] = {"model": "m", "stream": stream}
    if dialect == "openai":
        body["messages"] = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": "hi"}]
        if tools:
            body["tools"] = [{"type": "function", "function": {"name": "send", "parameters": SCHEMA}}]
        return await t.send(body, "/v1/chat/completions")
    if dialect == "anthropic":
        body |= {"max_tokens": 99, "system": SYSTEM, "messages": [{"role": "user", "content": "hi"}]}
        if tools:
            body["tools"] = [{"name": "send", "input_schema": SCHEMA}]
        return await t.send(body, "/v1/messages")
    if dialect == "gemini":
        asked = {"contents": [{"parts": [{"text": "hi"}]}], "systemInstruction": {"parts": [{"text": SYSTEM}]}}
        if tools:
            asked["tools"] = [{"functionDeclarations": [{"name": "send", "parametersJsonSchema": SCHEMA}]}]
        return await t.send(
            asked, f"/v1beta/models/m:{'streamGenerateContent?alt=sse' if stream else 'generateContent'}"
        )
    body |= {"instructions": SYSTEM, "input": "hi"}
    if tools:
        body["tools"] = [{"type": "function", "name": "send", "parameters": SCHEMA}]
    return await t.send(body, "/v1/responses")


async def story(t: Talk) -> tuple[list[str], list[tuple[str, str]]]:
    receipt = await t.receipt()
    return [attempt.why for attempt in receipt.attempts], [(v.action, v.reason) for v in receipt.verdicts]


@STREAMS
@DIALECTS
async def test_an_empty_answer_is_asked_for_again(talk: Converse, dialect: str, stream: bool) -> None:
    """Its blank pieces were content on the wire, and yet nothing was sent that could not be taken back."""
    async with talk(**sections({"use": "empty", "then": "retry"})) as t:
        t.upstream.sequence("m", Play([" ", "\n"]), Play(["It is ", "noon."]))
        reply = await ask(t, dialect, stream)
        assert reply.status == 200
        assert b"noon" in reply.raw
        assert await story(t) == (["first", "guardrail"], [("block", "blank"), ("allow", "")])


@STREAMS
@DIALECTS
async def test_a_refusal_goes_to_another_model(talk: Converse, dialect: str, stream: bool) -> None:
    """The client reads the other's answer and nothing of the refusal."""
    async with talk(**sections({"use": "refusal", "then": "fallback"})) as t:
        t.upstream.script("m", ["I'm sorry, ", "but I can't ", "help with that."])
        t.spare.script("m", ["Here it is: ", "forty-two."])
        reply = await ask(t, dialect, stream)
        assert reply.status == 200
        assert b"forty-two" in reply.raw
        assert b"sorry" not in reply.raw
        assert (await story(t))[1] == [("block", "en"), ("allow", "")]


@STREAMS
@DIALECTS
async def test_a_call_that_does_not_fit_never_reaches_the_client(talk: Converse, dialect: str, stream: bool) -> None:
    """The model is asked again; a slip of form is mended; a call cut by the token limit is neither."""
    check = {"use": "tool_schema", "action": "repair", "then": "retry"}
    async with talk(**sections(check)) as t:
        t.upstream.sequence(
            "m", Play([Tool('{"whom": "bob"}', 0, "c1", "send")]), Play([Tool("{'to': 'eve',}", 0, "c2", "send")])
        )
        reply = await ask(t, dialect, stream, tools=True)
        assert reply.status == 200
        assert b"whom" not in reply.raw
        assert b"eve" in reply.raw
        assert (await story(t))[1] == [("block", "missing_key>missing_key"), ("repair", "malformed>ok")]
        t.upstream.script("m", [Tool('{"to": "half of a na', 0, "c3", "send"), Finish("length")])
        reply = await ask(t, dialect, stream, tools=True)
        assert b"half" not in reply.raw
        assert (await story(t))[1] == [("block", "truncated>truncated")]


@STREAMS
@DIALECTS
async def test_an_answer_without_end_is_ended(talk: Converse, dialect: str, stream: bool) -> None:
    """A stream ends as one that was filtered does; of a whole answer nothing is sent."""
    async with talk(**sections({"use": "repetition"})) as t:
        t.upstream.script("m", ["So: ", *[LOOP] * 200])
        reply = await ask(t, dialect, stream)
        assert reply.raw.count(LOOP.strip().encode()) <= (45 if stream else 0)
        assert (await story(t))[1] == [("block", "text")]


@STREAMS
@DIALECTS
async def test_the_canary_reaches_the_model_and_no_client(talk: Converse, dialect: str, stream: bool) -> None:
    """The same word in each turn, in the system prompt as the dialect says it; an answer with it is stopped."""
    async with talk(**sections({"use": "prompt_leak", "canary": True})) as t:
        t.upstream.script("m", ["I am fine."])
        assert (await ask(t, dialect, stream)).status == 200
        found = re.search(rb"Reference ([a-z]{24}): internal", t.upstream.requests[-1].body)
        assert found is not None
        assert t.upstream.requests[-1].body.count(found[1]) == 1
        word = found[1].decode()
        t.upstream.script("m", ["It says ", word[:9], word[9:20], word[20:], " there."])
        reply = await ask(t, dialect, stream)
        assert t.upstream.requests[-1].body.count(found[1]) == 1
        assert word[:9].encode() not in reply.raw
        assert [verdicts for _, verdicts in [await story(t), await story(t)]] == [[("allow", "")], [("block", "")]]


@STREAMS
@DIALECTS
async def test_reasoning_that_uses_up_the_tokens_is_told(talk: Converse, dialect: str, stream: bool) -> None:
    """The reason says what happened, and the same model is not asked again with the same limit."""
    async with talk(**sections({"use": "empty", "stream": "full", "then": ["retry", "fallback"]})) as t:
        t.upstream.script("m", [Reasoning("Let me think"), Finish("length")])
        t.spare.script("m", ["Noon."])
        reply = await ask(t, dialect, stream)
        assert reply.status == 200
        assert b"Noon" in reply.raw
        why, verdicts = await story(t)
        assert len(why) == 2
        assert verdicts[0] == ("block", "cut_in_reasoning")
