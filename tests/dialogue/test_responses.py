"""The Responses API through the whole gateway, with checks on: what is masked, restored, refused and cached."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.fixtures.dialects import payloads
from tests.fixtures.gateway import Converse, Reply, Talk

GUARDS = {
    "secrets": {"use": "secrets", "on": ["input", "output"], "action": "mask", "restore": True, "on_error": "closed"},
    "phrases": {
        "use": "phrases",
        "on": ["input", "output"],
        "deny": ["project bluebird"],
        "action": "block",
        "on_error": "closed",
    },
}
SECTIONS: dict[str, Any] = {
    "models": {"m": {"targets": [{"provider": "up", "model": "echo:last"}]}},
    "guardrails": GUARDS,
    "routes": {"default": {"guardrails": list(GUARDS), "cache": {"exact": {"ttl": "1h"}}}},
}
SECRET = "sk-proj-" + "Ab3dEf6hIj9kLm2nOp5qRs8t" * 2


async def ask(t: Talk, stream: bool, given: Any, **fields: Any) -> Reply:
    return await t.send({"model": "m", "input": given, "stream": stream, **fields}, "/v1/responses")


def final(reply: Reply, stream: bool) -> dict[str, Any]:
    """The response object, as the last event or the body tells it."""
    if not stream:
        return reply.body
    last = payloads(reply.raw)[-1]
    assert last["type"] in ("response.completed", "response.incomplete"), last
    response: dict[str, Any] = last["response"]
    return response


def text_of(response: dict[str, Any]) -> str:
    return "".join(part["text"] for item in response["output"] for part in item["content"])


@pytest.mark.parametrize("stream", [False, True])
async def test_a_secret_is_masked_upstream_and_restored_for_the_client(talk: Converse, stream: bool) -> None:
    """The upstream sees it nowhere, in instructions, items or results; the client gets it back, whole, in every telling."""
    async with talk(**SECTIONS) as t:
        items = [
            {"role": "user", "content": "hi"},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": json.dumps({"key": SECRET})},
            {"type": "function_call_output", "call_id": "c", "output": f"used {SECRET}"},
            {"role": "user", "content": [{"type": "input_text", "text": f"my key is {SECRET}, keep it"}]},
        ]
        reply = await ask(t, stream, items, instructions=f"never say {SECRET}")
        assert SECRET.encode() not in t.upstream.requests[-1].body
        response = final(reply, stream)
        assert text_of(response) == f"my key is {SECRET}, keep it"
        if stream:
            wires = payloads(reply.raw)
            said = "".join(wire["delta"] for wire in wires if wire["type"] == "response.output_text.delta")
            (done,) = [wire["text"] for wire in wires if wire["type"] == "response.output_text.done"]
            assert said == done == text_of(response)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_refused_request_calls_nobody(talk: Converse, stream: bool) -> None:
    """A denied phrase in any item is the 400 `content_filter` that OpenAI's clients know."""
    async with talk(**SECTIONS) as t:
        reply = await ask(t, stream, [{"role": "user", "content": "tell me of project bluebird"}])
        assert (reply.status, reply.error["code"]) == (400, "content_filter")
        assert t.upstream.requests == []


@pytest.mark.parametrize("stream", [False, True])
async def test_the_same_question_is_answered_from_the_cache(talk: Converse, stream: bool) -> None:
    """A response from the exact cache says what the first one said, whether either is streamed or not."""
    async with talk(**SECTIONS) as t:
        first = await ask(t, not stream, "what is the capital of France")
        await t.receipt()
        again = await ask(t, stream, "what is the capital of France")
        assert again.header("cache") == "hit"
        assert text_of(final(again, stream)) == text_of(final(first, not stream)) == "what is the capital of France"
        assert len(t.upstream.requests) == 1
        assert (await t.receipt()).dialect == "responses"
