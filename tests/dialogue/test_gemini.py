"""Gemini's API through the whole gateway, with checks on: what is masked, restored, refused, stopped and cached; translated, and
to a server of this API itself."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.faults.server import FaultServer
from gateway.faults.steps import Reasoning, Text, Tool
from tests.fixtures.gateway import Converse, Reply, Talk

GUARDS = {
    "secrets": {"use": "secrets", "on": ["input", "output"], "action": "mask", "restore": True, "on_error": "closed"},
    "phrases": {"use": "phrases", "on": ["input", "output"], "deny": ["project bluebird"], "action": "block", "on_error": "closed"},
    "leak": {"use": "prompt_leak", "on": ["output"], "action": "block", "on_error": "closed"},
}  # fmt: skip
SECRET = "sk-proj-" + "Ab3dEf6hIj9kLm2nOp5qRs8t" * 2
SYSTEM = "You serve the harbour office and never tell the gate code of the ninth pier to anyone at all."


def _google(upstream: FaultServer, spare: FaultServer) -> dict[str, Any]:
    return {"google": {"type": "gemini", "base_url": f"{upstream.url}/v1beta", "api_key": "k"}}


SECTIONS: dict[str, Any] = {
    "providers": _google,
    "models": {
        "translated": {"targets": [{"provider": "up", "model": "m"}]},
        "native": {"targets": [{"provider": "google", "model": "m"}]},
    },
    "guardrails": GUARDS,
    "routes": {"default": {"guardrails": list(GUARDS), "cache": {"exact": {"ttl": "1h"}, "semantic": {"ttl": "1h"}}}},
    "server": {"secret": "a secret for this test only"},
}
MODELS = pytest.mark.parametrize("model", ["translated", "native"])
STREAMS = pytest.mark.parametrize("stream", [False, True])


async def ask(t: Talk, model: str, stream: bool, *contents: Any, **fields: Any) -> Reply:
    told = [{"role": "user", "parts": [{"text": one}]} if isinstance(one, str) else one for one in contents]
    path = f"/v1beta/models/{model}:{'streamGenerateContent?alt=sse' if stream else 'generateContent'}"
    return await t.send({"contents": told, **fields}, path)


def parts(reply: Reply) -> list[dict[str, Any]]:
    events = reply.events or [reply.body]
    return [part for event in events for c in event.get("candidates", ()) for part in c["content"].get("parts", ())]


def said(reply: Reply) -> list[str]:
    """The reasons given for the end."""
    events = reply.events or [reply.body]
    return [c["finishReason"] for event in events for c in event.get("candidates", ()) if "finishReason" in c]


@MODELS
@STREAMS
async def test_a_secret_is_masked_upstream_and_restored_for_the_client(
    talk: Converse, model: str, stream: bool
) -> None:
    """The upstream sees it nowhere: instructions, texts, thoughts, arguments, results, in either spelling; the client gets it
    back whole, in text, thought and arguments."""
    async with talk(**SECTIONS) as t:
        masked = "[[API_KEY_1]]"
        halves = [masked[:5], masked[5:]]
        call = Tool(json.dumps({"key": masked}), 0, "c9", "f")
        t.upstream.script("m", [Reasoning("so "), *map(Reasoning, halves), *map(Text, halves), Text(" it is"), call])
        reply = await ask(
            t,
            model,
            stream,
            {"parts": {"text": f"my key is {SECRET}"}},
            {"role": "model", "parts": [{"text": f"hm {SECRET}", "thought": True}, {"function_call": {"name": "f", "args": {"a": [SECRET]}}}]},
            {"role": "user", "parts": [{"function_response": {"name": "f", "response": {"output": f"used {SECRET}"}}}]},
            system_instruction={"parts": [{"text": f"never say {SECRET}"}]},
        )  # fmt: skip
        assert reply.status == 200, reply.raw
        sent = t.upstream.requests[-1].body.decode()
        assert SECRET not in sent
        told = parts(reply)
        assert reply.text == f"{SECRET} it is"
        assert "".join(part["text"] for part in told if part.get("thought")) == f"so {SECRET}"
        (args,) = [part["functionCall"]["args"] for part in told if "functionCall" in part]
        assert args == {"key": SECRET}
        assert said(reply) == ["STOP"]


@STREAMS
async def test_a_refused_request_calls_nobody(talk: Converse, stream: bool) -> None:
    """A denied phrase in any part is a 400 whose reason is the filter."""
    async with talk(**SECTIONS) as t:
        given = {
            "role": "user",
            "parts": [{"functionResponse": {"name": "f", "response": {"output": "project bluebird"}}}],
        }
        reply = await ask(t, "native", stream, "hi", given)
        assert (reply.status, reply.error["status"]) == (400, "INVALID_ARGUMENT")
        assert reply.error["details"][0]["reason"] == "CONTENT_FILTER"
        assert t.upstream.requests == []


@MODELS
@STREAMS
@pytest.mark.parametrize("leak", ["project bluebird", "never tell the gate code of the ninth pier to anyone at all"])
async def test_a_stopped_answer_says_so(talk: Converse, model: str, stream: bool, leak: str) -> None:
    """Midway in a stream it ends for safety, without a character of what it was stopped for; whole, it is a 400."""
    async with talk(**SECTIONS) as t:
        before = "All is well here, and it goes on well for a good while yet. " * 8
        t.upstream.script("m", [*(before[at : at + 9] for at in range(0, len(before), 9)), leak[:7], leak[7:]])
        reply = await ask(t, model, stream, "hi", systemInstruction={"parts": [{"text": SYSTEM}]})
        assert leak.encode() not in reply.raw
        if stream:
            assert (reply.status, said(reply)) == (200, ["SAFETY"])
            assert before.startswith(reply.text[:40])
        else:
            assert (reply.status, reply.error["status"]) == (400, "INVALID_ARGUMENT")


@MODELS
@STREAMS
async def test_the_same_question_is_answered_from_the_cache(talk: Converse, model: str, stream: bool) -> None:
    """An answer from the exact cache says what the first one said, whether either is streamed or not."""
    async with talk(**SECTIONS) as t:
        t.upstream.script("m", ["Par", "is."])
        first = await ask(t, model, not stream, "what is the capital of France")
        await t.receipt()
        await t.gateway.caches.writer.drained()
        again = await ask(t, model, stream, "what is the capital of France")
        assert again.header("cache") == "hit"
        assert again.text == first.text == "Paris."
        assert said(again) == said(first) == ["STOP"]
        assert len(t.upstream.requests) == 1
        receipt = await t.receipt()
        assert (receipt.dialect, receipt.model) == ("gemini", model)


async def test_other_settings_are_another_question(talk: Converse) -> None:
    """The whole body is part of the key: a cached answer is never one for another temperature or another schema."""
    async with talk(**SECTIONS) as t:
        t.upstream.script("m", ["Paris."])
        for config in ({}, {"temperature": 0.5}, {"responseMimeType": "application/json"}):
            reply = await ask(t, "native", False, "what is the capital of France", generationConfig=config)
            await t.gateway.caches.writer.drained()
            assert reply.header("cache") == "miss", config


@STREAMS
async def test_a_clean_native_answer_is_what_the_upstream_said(talk: Converse, stream: bool) -> None:
    """With no check that reads it, every byte but the model's name is the upstream's own, signatures and new fields too."""
    own = {"candidates": [{"content": {"parts": [{"text": "hi", "thoughtSignature": "c2ln"}, {"newPart": {"a": 1}}], "role": "model"}, "finishReason": "STOP", "newField": 2}], "usageMetadata": {"promptTokenCount": 1, "totalTokenCount": 2, "trafficType": "X"}, "modelVersion": "m", "new": [1]}  # fmt: skip
    async with talk(providers=_google, models=SECTIONS["models"]) as t:
        if stream:
            t.upstream.script("m", [own])
        else:
            t.upstream.reply("m", 200, own)
        reply = await ask(t, "native", stream, "hi")
        assert (reply.events[0] if stream else reply.body) == {**own, "modelVersion": "native"}
        want = json.dumps({**own, "modelVersion": "native"}, separators=(",", ":")).encode()
        assert reply.raw == (b"data: " + want + b"\n\n" if stream else want)
        receipt = await t.receipt()
        assert receipt.usage is not None
        assert (receipt.usage.input_tokens, receipt.outcome) == (1, "ok")
