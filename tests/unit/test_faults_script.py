"""Scripted answers and the record of requests: what dialogue tests are built on."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.faults import (
    CLOSE,
    DONE,
    END,
    HANG,
    HEAD,
    STOP,
    FaultServer,
    Finish,
    Item,
    Play,
    Reasoning,
    Received,
    Tool,
    Usage,
    answer,
)

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
async def server() -> AsyncIterator[FaultServer]:
    async with FaultServer(pause=0.002) as server:
        yield server


@pytest.fixture
async def client(server: FaultServer) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.base_url, timeout=10) as client:
        yield client


def ask(model: str = "m", text: str = "Hi", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


def frames(text: str) -> list[Any]:
    lines = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


def deltas(text: str) -> list[Any]:
    return [frame["choices"][0]["delta"] for frame in frames(text) if frame != "[DONE]" and frame["choices"]]


async def streamed(client: httpx.AsyncClient, **more: Any) -> str:
    reply = await client.post("/chat/completions", json=ask(stream=True, **more))
    assert reply.status_code == 200
    return reply.text


async def whole(client: httpx.AsyncClient, **more: Any) -> dict[str, Any]:
    reply = await client.post("/chat/completions", json=ask(**more))
    assert reply.status_code == 200, reply.text
    return reply.json()


async def test_each_text_is_one_event(server: FaultServer, client: httpx.AsyncClient) -> None:
    """A script of texts is streamed as one event each, after the role and before the reason and [DONE]."""
    server.script("m", ["Hel", "", "lo 日本", "\n"])
    got = frames(await streamed(client))
    said = [frame["choices"][0]["delta"] for frame in got[:-1]]
    assert said == [
        {"role": "assistant", "content": ""},
        *({"content": text} for text in ("Hel", "", "lo 日本", "\n")),
        {},
    ]
    assert [frame["choices"][0]["finish_reason"] for frame in got[:-1]] == [None] * 5 + ["stop"]
    assert got[-1] == "[DONE]"
    assert len({(frame["id"], frame["created"], frame["model"]) for frame in got[:-1]}) == 1


async def test_the_same_script_folds_into_a_body(server: FaultServer, client: httpx.AsyncClient) -> None:
    """A request that does not stream gets the same text, calls, reason and usage at once."""
    call = [Tool(id="c1", name="f"), Tool('{"a":'), Tool("1}"), Tool("{}", index=1, id="c2", name="g")]
    server.script("m", [Reasoning("Hm"), Reasoning("."), "Hel", "lo", *call, Usage(5, 6, 2)])
    body = await whole(client)
    choice = body["choices"][0]
    assert (choice["message"]["content"], choice["message"]["reasoning_content"]) == ("Hello", "Hm.")
    assert [c["function"] for c in choice["message"]["tool_calls"]] == [
        {"name": "f", "arguments": '{"a":1}'},
        {"name": "g", "arguments": "{}"},
    ]
    assert choice["finish_reason"] == "tool_calls"
    assert body["usage"]["total_tokens"] == 11
    assert body["usage"]["prompt_tokens_details"] == {"cached_tokens": 2}


async def test_tool_fragments_are_as_openai_sends_them(server: FaultServer, client: httpx.AsyncClient) -> None:
    """Id, type and name are in the first fragment of a call and absent, not null, in the later ones."""
    server.script("m", [Tool(id="c1", name="f"), Tool("{}")])
    got = await streamed(client)
    first, second = (delta["tool_calls"][0] for delta in deltas(got) if "tool_calls" in delta)
    assert first == {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}}
    assert second == {"index": 0, "function": {"arguments": "{}"}}
    assert frames(got)[-2]["choices"][0]["finish_reason"] == "tool_calls"


async def test_usage_comes_when_asked_for(server: FaultServer, client: httpx.AsyncClient) -> None:
    """With include_usage the event before [DONE] has no choices and the usage, and the others say null; else never."""
    server.script("m", ["Hi", Usage(3, 4)])
    got = frames(await streamed(client, stream_options={"include_usage": True}))
    assert got[-2]["choices"] == []
    assert got[-2]["usage"]["total_tokens"] == 7
    assert all(frame["usage"] is None for frame in got[:-2])
    assert "usage" not in await streamed(client)


async def test_gates_hold_the_stream(server: FaultServer, client: httpx.AsyncClient) -> None:
    """Nothing after a gate is sent until the test opens it, and everything before it is already there."""
    gate, head_gate = asyncio.Event(), asyncio.Event()
    server.script("m", [head_gate, "one", gate, "two"])
    sending = asyncio.create_task(
        client.send(client.build_request("POST", "/chat/completions", json=ask(stream=True)), stream=True)
    )
    await server.received(1)
    assert server.inflight == 1
    head_gate.set()
    reply = await sending
    lines = reply.aiter_lines()
    seen = ""
    while "one" not in seen:
        seen += await anext(lines)
    assert "two" not in seen
    assert server.inflight == 1
    gate.set()
    rest = [line async for line in lines]
    assert any("two" in line for line in rest)
    await server.idle()
    assert server.requests[0].outcome == "finished"


async def test_a_script_can_be_exact(server: FaultServer, client: httpx.AsyncClient) -> None:
    """Bytes go out as they are, mappings as one event, and a script that ends by itself is not completed."""
    server.script("m", [HEAD, b": hi\n\n", {"choices": [], "x": 1}, b"data: {oops\n\n", END])
    assert await streamed(client) == ': hi\n\ndata: {"choices":[],"x":1}\n\ndata: {oops\n\n'
    server.script("m", [b"event: message_start\ndata: {}\n\n"])
    assert await streamed(client) == "event: message_start\ndata: {}\n\n"
    server.script("m", ["Hi", STOP, DONE, " more", Finish("length"), END])
    reasons = [f["choices"][0]["finish_reason"] for f in frames(await streamed(client)) if f != "[DONE]"]
    assert reasons == [None, None, "stop", None, "length"]


async def test_raw_bytes_need_a_plain_answer(server: FaultServer, client: httpx.AsyncClient) -> None:
    """A script with raw events says that it needs ``plain`` when a request does not stream, and takes it."""
    server.script("m", ["Hi", b"data: {oops\n\n"])
    reply = await client.post("/chat/completions", json=ask())
    assert reply.status_code == 500
    assert "give it plain=" in reply.json()["error"]["message"]
    server.script("m", [b"data: {oops\n\n"], plain=answer(200, {"x": 1}).items)
    assert await whole(client) == {"x": 1}


async def test_a_sequence_is_played_in_order(server: FaultServer, client: httpx.AsyncClient) -> None:
    """Each request takes the next play, faults by name included, and the last one stays."""
    server.sequence("m", "503", answer(418, "teapot", {"x-extra": "1"}), Play(["Hi"]))
    replies = [await client.post("/chat/completions", json=ask()) for _ in range(4)]
    assert [reply.status_code for reply in replies] == [503, 418, 200, 200]
    assert replies[1].headers["x-extra"] == "1"
    with pytest.raises(ValueError, match="at least one play"):
        server.sequence("m")
    with pytest.raises(KeyError):
        server.sequence("m", "no-such-fault")


async def test_one_reply_for_both(server: FaultServer, client: httpx.AsyncClient) -> None:
    """``reply`` answers streamed and plain requests alike, with its headers."""
    server.reply("m", 429, {"error": {"message": "slow down"}}, retry_after="2")
    for stream in (True, False):
        reply = await client.post("/chat/completions", json=ask(stream=stream))
        assert (reply.status_code, reply.headers["retry-after"]) == (429, "2")
        assert reply.json() == {"error": {"message": "slow down"}}


async def test_a_script_may_depend_on_the_request(server: FaultServer, client: httpx.AsyncClient) -> None:
    """A function of the request is a script too; when it fails, the answer says how."""

    def count(asked: Received) -> list[Item]:
        return [f"{len(asked.messages)} messages, {asked.fields['temperature']}"]

    server.script("m", count)
    assert (await whole(client, temperature=0.5))["choices"][0]["message"]["content"] == "1 messages, 0.5"
    reply = await client.post("/chat/completions", json=ask())
    assert reply.status_code == 500
    assert "KeyError('temperature')" in reply.json()["error"]["message"]


async def test_echoes(server: FaultServer, client: httpx.AsyncClient) -> None:
    """The echo models give back the body, the headers and the last message's text, streamed and not."""
    body = ask("echo", "日本 [[PERSON_1]]", extra={"unknown": [1, None]})
    reply = await client.post("/chat/completions", json=body, headers={"x-api-key": "k"})
    assert json.loads(reply.json()["choices"][0]["message"]["content"]) == body
    shown = await whole(client, model="echo:headers")
    pairs = json.loads(shown["choices"][0]["message"]["content"])
    assert ("content-type", "application/json") in [(name.lower(), value) for name, value in pairs]
    text = await streamed(client, model="echo:last", text="a text of more than sixteen characters")
    assert [delta["content"] for delta in deltas(text)[1:-1]] == ["a text of more t", "han sixteen char", "acters"]


async def test_a_model_that_nobody_scripted(server: FaultServer, client: httpx.AsyncClient) -> None:
    """An unknown model is a 404, and a mistyped fault is told its neighbours."""
    reply = await client.post("/chat/completions", json=ask("fault:reset-midwy"))
    assert reply.status_code == 404
    assert reply.json()["error"]["code"] == "model_not_found"
    assert "fault:reset-midway" in reply.json()["error"]["message"]
    assert (await client.post("/chat/completions", content=b"{oops")).status_code == 404


async def test_embeddings(server: FaultServer, client: httpx.AsyncClient) -> None:
    """Equal texts get equal vectors, one for each input."""
    reply = await client.post("/embeddings", json={"model": "ok", "input": ["a", "b", "a"]})
    vectors = [entry["embedding"] for entry in reply.json()["data"]]
    assert vectors[0] == vectors[2] != vectors[1]
    assert (await client.post("/embeddings", json=ask("fault:503"))).status_code == 503


async def test_what_was_received_is_kept(server: FaultServer, client: httpx.AsyncClient) -> None:
    """Method, target, headers in any case, body bytes and connection are there, in process and over HTTP."""
    server.script("m", ["Hi"])
    headers = {"Authorization": "Bearer sk-1", "X-Two": "2"}
    await client.post("/chat/completions?beta=true", json=ask(temperature=0), headers=headers)
    await client.post("/chat/completions", json=ask(stream=True))
    first, second = await server.received(2)
    assert (first.method, first.target, first.path) == (
        "POST",
        "/v1/chat/completions?beta=true",
        "/v1/chat/completions",
    )
    assert (first.header("authorization"), first.header("X-TWO"), first.header("none")) == ("Bearer sk-1", "2", None)
    assert (first.model, first.stream, first.fields["temperature"]) == ("m", False, 0)
    assert json.loads(first.body) == first.json
    assert (second.connection, second.nth, second.stream) == (first.connection, 2, True)
    shown = (await client.get(f"{server.url}/_requests")).json()
    assert [entry["outcome"] for entry in shown["requests"]] == ["finished", "finished"]
    assert shown["inflight"] == 0
    assert json.loads(shown["requests"][0]["body"])["temperature"] == 0
    await client.delete(f"{server.url}/_requests")
    assert server.requests == []


async def test_a_client_that_leaves_is_noticed(server: FaultServer, client: httpx.AsyncClient) -> None:
    """A call dropped before the first byte, or in the middle of a stream, is recorded as left and is in flight no more."""
    server.script("early", [HANG])
    server.script("late", ["Hi", HANG])
    for model in ("early", "late"):
        call = asyncio.create_task(client.post("/chat/completions", json=ask(model, stream=True)))
        (request,) = await server.received(1)
        assert server.inflight == 1
        assert request.outcome == "open"
        call.cancel()
        assert await request.ended() == "left"
        await server.idle()
        assert server.inflight == 0
        server.forget()


async def test_a_long_stream_to_nobody_stops(server: FaultServer, client: httpx.AsyncClient) -> None:
    """An endless answer ends when its reader does."""
    async with client.stream("POST", "/chat/completions", json=ask("fault:endless", stream=True)) as reply:
        lines = reply.aiter_lines()
        for _ in range(20):
            await anext(lines)
    assert await server.requests[0].ended() == "left"
    assert server.requests[0].sent > 1000


async def test_nothing_waits_for_ever() -> None:
    """Past the server's limit a hanging answer is broken off, and past its own a wait says what it waited for."""
    async with FaultServer(limit=0.1) as server, httpx.AsyncClient(base_url=server.base_url) as client:
        server.script("m", ["Hi", asyncio.Event(), "never"])
        with pytest.raises(httpx.RemoteProtocolError):
            await client.post("/chat/completions", json=ask(stream=True))
        assert await server.requests[0].ended() == "cut"
        with pytest.raises(TimeoutError, match=r"count=5 .* there are 1 requests, 0 in flight"):
            await server.received(5, within=0.05)


async def test_stopping_breaks_off_what_is_open(client: httpx.AsyncClient, server: FaultServer) -> None:
    """Stopping the server ends every answer and connection, and says so in the record."""
    server.script("m", ["Hi", HANG])
    calls = [asyncio.create_task(client.post("/chat/completions", json=ask(stream=True))) for _ in range(5)]
    requests = await server.received(5)
    await server.stop()
    assert {request.outcome for request in requests} == {"stopped"}
    assert (server.inflight, server.connections) == (0, 0)
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(result, httpx.HTTPError) for result in results)


async def test_plain_answers_can_break_too(server: FaultServer, client: httpx.AsyncClient) -> None:
    """A script that breaks off breaks a plain answer halfway through its body."""
    server.script("m", ["Hello", CLOSE])
    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete message body"):
        await client.post("/chat/completions", json=ask())


@pytest.mark.parametrize(
    "raw",
    [
        b"hello\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_what_is_no_request_gets_400(raw: bytes, server: FaultServer) -> None:
    """Bytes that are no request are answered 400 and the connection is closed."""
    reader, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(raw)
    assert (await asyncio.wait_for(reader.read(), 5)).startswith(b"HTTP/1.1 400 ")
    writer.close()


async def test_chunked_and_pipelined_requests_are_read(server: FaultServer) -> None:
    """A body in chunks is put together, and a second request sent ahead is answered after the first."""
    body = json.dumps(ask("ok")).encode()
    chunked = b"%x\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (10, body[:10], len(body) - 10, body[10:])
    reader, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n" + chunked)
    writer.write(b"GET /v1/models HTTP/1.1\r\n\r\n")
    got = b""
    async with asyncio.timeout(5):
        while b'"object":"list"' not in got:
            got += await reader.read(1 << 16)
    writer.close()
    assert server.requests[0].body == body
    assert got.index(b"chat.completion") < got.index(b'"object":"list"')


async def test_it_runs_as_a_process() -> None:
    """``python -m gateway.faults`` prints its URL, answers, and ends on SIGTERM; ``--list`` prints the table."""
    command = [sys.executable, "-m", "gateway.faults"]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, "--port", "0", stdout=pipe, cwd=ROOT)
    assert process.stdout is not None
    url = (await asyncio.wait_for(process.stdout.readline(), 20)).decode().strip()
    async with httpx.AsyncClient(base_url=url) as client:
        assert (await client.get("/health")).status_code == 200
        listed = (await client.get("/v1/models")).json()["data"]
        assert {"echo", "ok", "fault:reset-midway"} <= {entry["id"] for entry in listed}
        assert (await client.post("/v1/chat/completions", json=ask("fault:502-html"))).status_code == 502
        assert len((await client.get("/_requests")).json()["requests"]) == 1
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 10) == 0
    lister = await asyncio.create_subprocess_exec(*command, "--list", stdout=pipe, cwd=ROOT)
    out, _ = await asyncio.wait_for(lister.communicate(), 20)
    assert b"refuse-stream-midway" in out
