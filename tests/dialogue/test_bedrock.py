"""Bedrock behind a whole gateway: clients of every dialect, masks, an answer cut short, and what the receipt says."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.fixtures.eventstream import event, exception
from tests.fixtures.gateway import Converse
from tests.fixtures.upstream_server import END, Peer, RawServer, chunk, whole

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/vnd.amazon.eventstream\r\ntransfer-encoding: chunked\r\n\r\n"
MAIL = "ada.lovelace@example.com"
MASK = {
    "private": {
        "use": "pii", "on": ["input", "output"], "action": "mask", "restore": True, "entities": ["EMAIL_ADDRESS"],
        "on_error": "closed",
    }
}  # fmt: skip


def said(*pieces: str, stop: str = "end_turn") -> list[bytes]:
    return [
        event("messageStart", {"role": "assistant"}),
        *(event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": piece}}) for piece in pieces),
        event("contentBlockStop", {"contentBlockIndex": 0}),
        event("messageStop", {"stopReason": stop}),
        event(
            "metadata", {"usage": {"inputTokens": 9, "outputTokens": 2, "totalTokens": 11}, "metrics": {"latencyMs": 1}}
        ),
    ]


class Bedrock:
    """Behaves as Bedrock does: streams `messages`, or answers with `reply`."""

    def __init__(self, messages: list[bytes], *, ends: bool = True) -> None:
        self.messages, self.ends = messages, ends
        self.bodies: list[dict[str, Any]] = []

    async def __call__(self, peer: Peer) -> None:
        assert peer.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKID/")
        self.bodies.append(peer.json)
        if peer.line.split()[1].endswith("/converse"):
            text = "".join(self.texts())
            body = {
                "output": {"message": {"content": [{"text": text}]}},
                "stopReason": "end_turn",
                "usage": {},
                "metrics": {},
            }
            await peer.send(whole(json.dumps(body).encode()))
            return
        await peer.send(HEAD)
        for message in self.messages:
            await peer.send(chunk(message[:7]) + chunk(message[7:]))
        if self.ends:
            await peer.send(END)
        else:
            peer.abort()

    def texts(self) -> list[str]:
        found = re.findall(rb'"text": ("(?:[^"\\]|\\.)*")', b"".join(self.messages))
        return [json.loads(text) for text in found]


def sections(server: RawServer, **more: Any) -> dict[str, Any]:
    aws = {"region": "eu-west-1", "access_key_id": "AKID", "secret_access_key": "aws-s3cret"}
    return {
        "providers": {"aws": {"type": "bedrock", "base_url": server.url, "aws": aws}},
        "models": {"m": {"targets": [{"provider": "aws", "model": "eu.maker.model-v1:0"}], "retry": {"attempts": 1}}},
        **more,
    }


@pytest.mark.parametrize("stream", [False, True])
async def test_openais_clients_are_answered(talk: Converse, stream: bool) -> None:
    """Text, the ending, and usage where it is asked for; the receipt knows the provider and the tokens."""
    async with RawServer(Bedrock(said("Good ", "day"))) as server, talk(**sections(server)) as t:
        more = {"stream_options": {"include_usage": True}} if stream else {}
        reply = await t.ask("hi", stream=stream, **more)
        assert (reply.text, reply.finish, reply.whole) == ("Good day", "stop", True)
        if stream:
            assert reply.events[-1]["usage"]["prompt_tokens"] == 9
        receipt = await t.receipt()
        assert (receipt.outcome, receipt.attempts[0].provider) == ("ok", "aws")


@pytest.mark.parametrize("stream", [False, True])
async def test_anthropics_clients_are_answered(talk: Converse, stream: bool) -> None:
    """The same answer in the other dialect, with its own terminal event."""
    async with RawServer(Bedrock(said("Good ", "day", stop="max_tokens"))) as server, talk(**sections(server)) as t:
        body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], "stream": stream}
        reply = await t.send(body, "/v1/messages")
        assert (reply.text, reply.whole) == ("Good day", True)
        if stream:
            stops = [e["delta"]["stop_reason"] for e in reply.events if e["type"] == "message_delta"]
            assert stops == ["max_tokens"]


@pytest.mark.parametrize("stream", [False, True])
async def test_masks_hold_there_too(talk: Converse, stream: bool) -> None:
    """Bedrock sees the placeholder, and the client its own address, though the stream cut the placeholder in two."""
    bedrock = Bedrock(said("Write to [[EMAIL_", "ADDRESS_1]]", "."))
    routes = {"default": {"guardrails": ["private"]}}
    async with RawServer(bedrock) as server, talk(**sections(server, guardrails=MASK, routes=routes)) as t:
        reply = await t.ask(f"I am {MAIL}", stream=stream)
        assert reply.text == f"Write to {MAIL}."
        assert MAIL not in json.dumps(bedrock.bodies)
        assert "[[EMAIL_ADDRESS_1]]" in json.dumps(bedrock.bodies)


@pytest.mark.parametrize("ends", [True, False])
async def test_a_cut_stream_never_looks_whole(talk: Converse, ends: bool) -> None:
    """Whether the connection broke or the body just ended: an error, and no `[DONE]`."""
    bedrock = Bedrock(said("Good ", "day")[:3], ends=ends)
    async with RawServer(bedrock) as server, talk(**sections(server)) as t:
        reply = await t.ask("hi", stream=True)
        assert not reply.done
        assert reply.error["code"] == "stream_cut"
        assert (await t.receipt()).outcome == "cut"


async def test_an_exception_before_any_text_is_a_clean_error(talk: Converse) -> None:
    """Nothing was sent yet, so the client gets a status of its own, and none of AWS's words."""
    bedrock = Bedrock(
        [event("messageStart", {"role": "assistant"}), exception("throttlingException", "account s3cret")]
    )
    async with RawServer(bedrock) as server, talk(**sections(server)) as t:
        reply = await t.ask("hi", stream=True)
        assert reply.status == 429
        assert b"s3cret" not in reply.raw


async def test_what_cannot_be_said_names_the_clients_field(talk: Converse) -> None:
    """A 400, and Bedrock is not called."""
    bedrock = Bedrock(said("x"))
    async with RawServer(bedrock) as server, talk(**sections(server)) as t:
        reply = await t.ask("hi", seed=7)
        assert (reply.status, reply.error["param"], reply.error["code"]) == (400, "seed", "unsupported_parameter")
        assert not bedrock.bodies
