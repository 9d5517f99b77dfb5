"""Providers called over real sockets: what they are sent, what comes back, and what is left when anything goes wrong."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
import pytest

from gateway.core.errors import (
    BadRequest,
    ContextOverflow,
    GatewayFault,
    StreamCut,
    UpstreamFailed,
    UpstreamLimited,
    UpstreamRefusedUs,
    UpstreamRejected,
    UpstreamTimeout,
)
from gateway.core.events import Event, Failed, Finished, Text
from gateway.core.plan import Target, Timeouts
from gateway.core.request import Request
from gateway.core.response import fold
from gateway.core.secret import Secret
from gateway.dialects.registry import dialects
from gateway.providers.build import build
from gateway.providers.config import ProviderConfig
from gateway.providers.http_client import HttpClient
from gateway.providers.profile import ErrorRule, Params
from gateway.providers.upstream import MAX_ERROR_BODY, HttpUpstream
from gateway.providers.upstream_reply import UpstreamReply
from tests.fixtures.upstream_server import (
    CHAT,
    DONE,
    END,
    STREAM_HEAD,
    Behave,
    Peer,
    RawServer,
    chunk,
    delta,
    until,
    whole,
)

DIALECTS = dialects()
TARGET = Target(provider="up", model="real-model")
FAST = Timeouts(connect=1, ttft=2, idle=2, total=4)


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    client = HttpClient()
    yield client
    await client.aclose()


def upstream(http: HttpClient, *urls: str, type: str = "openai-compatible", **config: Any) -> HttpUpstream:
    config.setdefault("endpoints", list(urls))
    return build({"up": ProviderConfig(type=type, **config)}, DIALECTS, http)["up"]


def asks(stream: bool = True, **fields: Any) -> Request:
    body = {"model": "alias", "messages": [{"role": "user", "content": "hi"}], "stream": stream, **fields}
    return DIALECTS["openai"].read("chat", body)


async def call(
    up: HttpUpstream, request: Request | None = None, times: Timeouts = FAST, **headers: str
) -> UpstreamReply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await up.open(request or asks(), TARGET, times, traceparent="00-trace", headers=named)


async def events(reply: UpstreamReply) -> list[Event]:
    try:
        return [event async for batch in reply.frames() for frame in batch for event in frame.events]
    finally:
        await reply.close()


def idle(up: HttpUpstream) -> bool:
    return all(endpoint.in_flight == 0 for endpoint in up.endpoints.all)


def says(data: bytes) -> Behave:
    async def behave(peer: Peer) -> None:
        await peer.send(data)

    return behave


STREAM = STREAM_HEAD + chunk(delta("hel")) + chunk(delta("lo")) + chunk(delta("", "stop") + DONE) + END


# --- what is sent


async def test_the_call_carries_our_credential_and_the_listed_headers_only(http: HttpClient) -> None:
    """Our key, our trace and what the profile lists go upstream; the client's credentials and cookies never do."""
    async with RawServer(says(whole(CHAT))) as server:
        up = upstream(http, server.url + "/v1", api_key=Secret("sk-ours"), headers={"X-Team": "tide"})
        reply = await call(
            up,
            asks(stream=False),
            authorization="Bearer sk-client",
            x_api_key="sk-client",
            api_key="sk-client",
            cookie="a=b",
            host="evil.example",
            connection="close",
            accept_encoding="gzip",
            x_stainless_lang="python",
            x_team="theirs",
            openai_beta="assistants=v2",
            idempotency_key="once",
            user_agent="OpenAI/Python 3.57",
        )
        await events(reply)
        peer = server.requests[-1]
        assert peer.line == "POST /v1/chat/completions HTTP/1.1"
        assert peer.headers == {
            "host": f"127.0.0.1:{server.port}",
            "accept": "application/json",
            "accept-encoding": "identity",
            "content-type": "application/json",
            "content-length": str(len(peer.body)),
            "authorization": "Bearer sk-ours",
            "x-team": "tide",
            "openai-beta": "assistants=v2",
            "idempotency-key": "once",
            "traceparent": "00-trace",
            "user-agent": peer.headers["user-agent"],
        }
        assert peer.headers["user-agent"].startswith("tidegate/")
        assert peer.headers["user-agent"].endswith(" OpenAI/Python 3.57")
        assert peer.json["model"] == "real-model"


@pytest.mark.parametrize(
    ("type_", "header"), [("anthropic", "x-api-key"), ("azure", "api-key"), ("openai", "authorization")]
)
async def test_each_kind_of_provider_gets_its_key_its_own_way(http: HttpClient, type_: str, header: str) -> None:
    """How the key is told is data of the profile, and there is one credential on the wire."""
    async with RawServer(says(whole(b"{}", "500 Oops"))) as server:
        up = upstream(http, server.url, type=type_, api_key=Secret("sk-ours"))
        with pytest.raises(UpstreamFailed):
            await call(up, asks(stream=False))
        sent = server.requests[-1].headers
        found = {name: sent[name] for name in ("authorization", "x-api-key", "api-key") if name in sent}
        assert found == {header: "Bearer sk-ours" if header == "authorization" else "sk-ours"}


async def test_a_client_may_say_which_version_of_a_protocol_it_speaks(http: HttpClient) -> None:
    """`anthropic-version` and `anthropic-beta` go to Anthropic as the client sent them, over the dialect's own."""
    async with RawServer(says(whole(b"{}", "500 Oops"))) as server:
        up = upstream(http, server.url, type="anthropic", api_key=Secret("k"))
        with pytest.raises(UpstreamFailed):
            await call(up, asks(stream=False), anthropic_version="2099-01-01", anthropic_beta="a,b")
        sent = server.requests[-1]
        assert sent.line == "POST /messages HTTP/1.1"
        assert sent.headers["anthropic-version"] == "2099-01-01"
        assert sent.headers["anthropic-beta"] == "a,b"


@pytest.mark.parametrize("value", ["a\r\nevil: 1", "caf\u00e9", "x" * 5000])
async def test_an_odd_header_of_the_client_is_left_out(http: HttpClient, value: str) -> None:
    """A passed-on header that could break the request is not passed on; the request is."""
    async with RawServer(says(whole(CHAT))) as server:
        up = upstream(http, server.url)
        await events(await call(up, asks(stream=False), openai_beta=value, user_agent=value))
        assert "openai-beta" not in server.requests[-1].headers
        assert "evil" not in server.requests[-1].headers


async def test_the_parameter_table_is_applied(http: HttpClient) -> None:
    """The profile's renames and the operator's own rules shape the body."""
    async with RawServer(says(whole(CHAT))) as server:
        up = upstream(
            http,
            server.url,
            type="ollama",
            params=msgspec.convert({"clamp": {"temperature": [0, 1]}, "force": {"keep_alive": "5m"}}, Params),
            paths={"chat": "/elsewhere"},
        )
        await events(await call(up, asks(stream=False, max_completion_tokens=7, temperature=2, new_field=[1])))
        peer = server.requests[-1]
        assert peer.line == "POST /elsewhere HTTP/1.1"
        sent = peer.json
        assert sent["max_tokens"] == 7
        assert "max_completion_tokens" not in sent
        assert (sent["temperature"], sent["keep_alive"], sent["new_field"]) == (1, "5m", [1])


async def test_an_operation_that_a_provider_lacks_is_refused_here(http: HttpClient) -> None:
    """The client learns which operation is missing, and the provider is not asked."""
    async with RawServer(says(whole(CHAT))) as server:
        up = upstream(http, server.url, type="deepseek", api_key=Secret("k"))
        with pytest.raises(BadRequest, match="embeddings"):
            await call(up, DIALECTS["openai"].read("embeddings", {"model": "alias", "input": "x"}))
        assert not server.requests


# --- what comes back


async def test_a_stream_comes_as_frames_and_keeps_its_connection(http: HttpClient) -> None:
    """Frames that arrive together come together, the answer is whole, and the connection serves the next call."""
    async with RawServer(says(STREAM)) as server:
        up = upstream(http, server.url)
        for _ in range(3):
            reply = await call(up)
            batches = [batch async for batch in reply.frames()]
            await reply.close()
            await reply.close()
            response = fold(event for batch in batches for frame in batch for event in frame.events)
            assert (response.choices[0].text, response.complete) == ("hello", True)
            assert len(batches) == 1
        assert reply.endpoint == f"127.0.0.1:{server.port}"
        assert server.connections == 1
        assert idle(up)


async def test_a_reader_that_stops_at_the_terminal_mark_keeps_the_connection(http: HttpClient) -> None:
    """The end of the body may come after `[DONE]`: nobody waits for it, and the connection is used again."""

    async def behave(peer: Peer) -> None:
        await peer.send(STREAM[: -len(END)])
        await asyncio.sleep(0.01)
        await peer.send(END)

    async with RawServer(behave) as server:
        up = upstream(http, server.url)
        for _ in range(3):
            reply = await call(up)
            async for batch in reply.frames():
                if any(type(event) is Finished for frame in batch for event in frame.events):
                    break
            await reply.close()
            assert idle(up)
            await until(lambda: http.idle == 1)
        assert server.connections == 1


async def test_a_whole_answer_is_the_same_events(http: HttpClient) -> None:
    """A reply that is not streamed folds to the same answer."""
    async with RawServer(says(whole(CHAT, extra="x-request-id: req-7\r\n"))) as server:
        reply = await call(upstream(http, server.url), asks(stream=False))
        assert (reply.status, reply.upstream_id) == (200, "req-7")
        response = fold(await events(reply))
        assert response.choices[0].text == "hello"
        assert response.usage is not None
        assert response.usage.input_tokens == 3


async def test_a_provider_that_must_stream_is_asked_to(http: HttpClient) -> None:
    """`stream.always`: the client wants one answer, the provider streams, and the events fold to it."""
    async with RawServer(says(STREAM)) as server:
        up = upstream(http, server.url, type="llama-cpp")
        response = fold(await events(await call(up, asks(stream=False))))
        assert server.requests[-1].json["stream"] is True
        assert response.choices[0].text == "hello"
        assert response.complete


async def test_finish_reasons_are_told_in_the_canonical_words(http: HttpClient) -> None:
    """A provider's own word for an ending is replaced, also in what would have been relayed byte by byte."""
    wire = STREAM_HEAD + chunk(delta("hi")) + chunk(delta("", "eos") + DONE) + END
    async with RawServer(says(wire)) as server:
        up = upstream(http, server.url, finish_reasons={"eos": "stop"})
        reply = await call(up)
        frames = [frame async for batch in reply.frames() for frame in batch]
        await reply.close()
        assert fold(event for frame in frames for event in frame.events).choices[0].finish == "stop"
        assert not any(frame.raw and b"eos" in frame.raw for frame in frames)


ERRORS = [
    ("400 Bad Request", b'{"error":{"message":"bad temperature","type":"invalid_request_error"}}', UpstreamRejected),
    ("400 Bad Request", b'{"error":{"message":"m","code":"context_length_exceeded"}}', ContextOverflow),
    ("401 Unauthorized", b'{"error":{"message":"Incorrect key sk-ours"}}', UpstreamRefusedUs),
    ("429 Too Many", b"{}", UpstreamLimited),
    ("500 Oops", b"<html>", UpstreamFailed),
    ("503 Away", b"", UpstreamFailed),
    ("302 Found", b"", UpstreamFailed),
]


@pytest.mark.parametrize(("status", "body", "kind"), ERRORS)
async def test_error_replies_become_faults(
    http: HttpClient, status: str, body: bytes, kind: type[GatewayFault]
) -> None:
    """Each status is the fault the dialect says, nothing is in flight after it, and the connection is kept."""
    wire = whole(body, status, extra="retry-after: 3\r\nlocation: http://elsewhere.example\r\n")
    async with RawServer(says(wire)) as server:
        up = upstream(http, server.url, api_key=Secret("sk-ours"))
        for _ in range(2):
            with pytest.raises(GatewayFault) as caught:
                await call(up)
            assert type(caught.value) is kind
            assert "sk-ours" not in str(caught.value)
        if kind is UpstreamLimited:
            assert caught.value.retry_after == 3
        assert len(server.requests) == 2
        assert server.connections == 1
        assert idle(up)


async def test_a_profile_can_say_what_an_error_means(http: HttpClient) -> None:
    """The first rule that fits the status and the body decides, also against the dialect's reading."""
    rules = [
        ErrorRule(status=503, contains="Loading", fault="upstream_limited"),
        ErrorRule(status=400, contains="TOO MANY TOKENS", fault="context_overflow"),
    ]
    replies = [
        whole(b'{"error":"loading model"}', "503 Away"),
        whole(b'{"error":"Too many tokens"}', "400 Bad"),
        whole(b'{"error":"else"}', "400 Bad"),
    ]

    async def behave(peer: Peer) -> None:
        await peer.send(replies[len(peer.server.requests) - 1])

    async with RawServer(behave) as server:
        up = upstream(http, server.url, errors=rules)
        for kind in (UpstreamLimited, ContextOverflow, UpstreamRejected):
            with pytest.raises(GatewayFault) as caught:
                await call(up)
            assert type(caught.value) is kind


async def test_an_endless_error_body_is_not_read_to_its_end(http: HttpClient) -> None:
    """64 KiB of an error are enough; the rest is hung up on."""

    async def behave(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 500 Oops\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            await peer.send(chunk(b"x" * MAX_ERROR_BODY))

    async with RawServer(behave) as server:
        up = upstream(http, server.url)
        with pytest.raises(UpstreamFailed):
            await asyncio.wait_for(call(up), 2)
        await server.all_gone()


async def test_an_error_whose_body_breaks_off_is_still_that_error(http: HttpClient) -> None:
    """The status is known, so a cut body changes what can be told and not what happened."""

    async def behave(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 429 Slow\r\ncontent-length: 100\r\n\r\n{")
        peer.abort()

    async with RawServer(behave) as server:
        with pytest.raises(UpstreamLimited):
            await call(upstream(http, server.url))


@pytest.mark.parametrize("stream", [True, False])
async def test_a_web_page_is_no_answer(http: HttpClient, stream: bool) -> None:
    """HTML with status 200, from a wrong base URL or a proxy, is an upstream failure that says so."""
    async with RawServer(says(whole(b"<html>", kind="text/html; charset=utf-8"))) as server:
        with pytest.raises(UpstreamFailed, match="text/html"):
            await call(upstream(http, server.url), asks(stream=stream))


async def test_a_server_that_ignores_stream_is_understood(http: HttpClient) -> None:
    """One JSON body in place of a stream is still the answer."""
    async with RawServer(says(whole(CHAT))) as server:
        assert fold(await events(await call(upstream(http, server.url)))).choices[0].text == "hello"


# --- time


@pytest.mark.parametrize("noise", [b"", b": still here\n\n"])
async def test_the_first_token_has_its_own_time_out(http: HttpClient, noise: bytes) -> None:
    """Neither silence nor keep-alive comments put off the time-out of the first token."""

    async def behave(peer: Peer) -> None:
        await peer.send(STREAM_HEAD)
        while noise and not peer.writer.transport.is_closing():
            await peer.send(chunk(noise))
            await asyncio.sleep(0.02)
        await peer.gone()

    async with RawServer(behave) as server:
        up = upstream(http, server.url)
        reply = await call(up, times=Timeouts(ttft=0.15, idle=9, total=9))
        with pytest.raises(UpstreamTimeout, match=r"no token within 0\.15 s"):
            await asyncio.wait_for(events(reply), 2)
        await server.all_gone()
        assert idle(up)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_silent_upstream_times_out_before_its_head(http: HttpClient, stream: bool) -> None:
    """Streamed calls end at the first-token time-out, whole ones at the total: their first byte comes when all is done."""

    async def behave(peer: Peer) -> None:
        await peer.gone()

    async with RawServer(behave) as server:
        times = Timeouts(ttft=0.1, total=9) if stream else Timeouts(ttft=0.02, total=0.1)
        with pytest.raises(UpstreamTimeout, match="token" if stream else "whole"):
            await asyncio.wait_for(call(upstream(http, server.url), asks(stream=stream), times), 2)
        await server.all_gone()


async def test_a_stream_that_stands_still_is_ended(http: HttpClient) -> None:
    """After the first token the idle time-out counts between reads."""

    async def behave(peer: Peer) -> None:
        await peer.send(STREAM_HEAD + chunk(delta("one")))
        await peer.gone()

    async with RawServer(behave) as server:
        reply = await call(upstream(http, server.url), times=Timeouts(ttft=5, idle=0.1, total=9))
        with pytest.raises(UpstreamTimeout, match=r"stood still for 0\.1 s"):
            await asyncio.wait_for(events(reply), 2)
        await server.all_gone()


async def test_a_stream_that_never_ends_is_ended(http: HttpClient) -> None:
    """The total time-out ends a stream that keeps talking."""

    async def behave(peer: Peer) -> None:
        await peer.send(STREAM_HEAD)
        while True:
            await peer.send(chunk(delta("x")))
            await asyncio.sleep(0.01)

    async with RawServer(behave) as server:
        reply = await call(upstream(http, server.url), times=Timeouts(ttft=5, idle=5, total=0.2))
        with pytest.raises(UpstreamTimeout, match=r"within 0\.2 s"):
            await asyncio.wait_for(events(reply), 2)
        await server.all_gone()


# --- cuts and leaving


@pytest.mark.parametrize("how", ["close", "end without mark", "abort"])
async def test_a_cut_stream_is_never_whole(http: HttpClient, how: str) -> None:
    """However a stream breaks off, the last thing is a cut and never a finish."""

    async def behave(peer: Peer) -> None:
        await peer.send(STREAM_HEAD + chunk(delta("half")))
        if how == "end without mark":
            await peer.send(END)
        elif how == "abort":
            peer.abort()
        else:
            peer.writer.close()

    async with RawServer(behave) as server:
        up = upstream(http, server.url)
        got: list[Event] = []
        fault: Exception | None = None
        reply = await call(up)
        try:
            async for batch in reply.frames():
                got += [event for frame in batch for event in frame.events]
        except GatewayFault as cut:
            fault = cut
        await reply.close()
        if got and isinstance(got[-1], Failed):
            fault = got[-1].error
        assert isinstance(fault, StreamCut)
        assert not any(type(event) is Finished for event in got)
        assert idle(up)


async def test_the_count_in_flight_is_zero_after_every_kind_of_end(http: HttpClient) -> None:
    """Whenever calls are cancelled, and whatever the upstream does, no call stays counted and no connection in use."""
    rng = random.Random(7)
    step = asyncio.Event()

    async def behave(peer: Peer) -> None:
        kind = rng.randrange(6)
        await asyncio.sleep(rng.random() * 0.005)
        if kind == 0:
            peer.abort()
        elif kind == 1:
            await peer.send(whole(b"{}", "500 Oops"))
        elif kind == 2:
            await peer.send(STREAM_HEAD + chunk(delta("x")))
            await peer.gone()
        else:
            for at in range(0, len(STREAM), 97):
                await peer.send(STREAM[at : at + 97])
                await asyncio.sleep(0)
        step.set()

    async def one(up: HttpUpstream) -> None:
        reply = await call(up, asks(stream=rng.random() < 0.7), Timeouts(ttft=0.2, idle=0.05, total=0.5))
        try:
            async for _ in reply.frames():
                pass
        finally:
            await reply.close()

    async with RawServer(behave) as first, RawServer(behave) as second:
        up = upstream(http, first.url, second.url)
        tasks = []
        for _ in range(300):
            task = asyncio.create_task(one(up))
            asyncio.get_running_loop().call_later(rng.random() * 0.02, task.cancel)
            tasks.append(task)
            if rng.random() < 0.3:
                await asyncio.sleep(0.001)
        results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
        bugs = [
            r
            for r in results
            if isinstance(r, BaseException) and not isinstance(r, GatewayFault | asyncio.CancelledError)
        ]
        assert not bugs
        assert idle(up)
        await until(lambda: http.connections == http.idle)


# --- several endpoints


async def test_calls_are_spread_over_the_endpoints(http: HttpClient) -> None:
    """With equal load, endpoints take turns."""
    async with RawServer(says(STREAM)) as first, RawServer(says(STREAM)) as second:
        up = upstream(http, first.url, second.url)
        for _ in range(10):
            await events(await call(up))
        assert len(first.requests) == len(second.requests) == 5


async def test_an_endpoint_that_is_not_there_is_passed_over(http: HttpClient) -> None:
    """No connection, nothing sent: the call goes to the next endpoint, and after some failures no longer tries the dead one."""
    async with RawServer(says(STREAM)) as gone:
        dead = gone.url
    async with RawServer(says(STREAM)) as alive:
        up = upstream(http, dead, alive.url)
        for _ in range(12):
            await events(await call(up))
        assert len(alive.requests) == 12
        broken = up.endpoints.all[0]
        assert broken.resting_until
        assert idle(up)


async def test_when_no_endpoint_is_there_the_fault_says_so(http: HttpClient) -> None:
    """All endpoints refused: one clear fault that lets dispatch try another target."""
    async with RawServer(says(b"")) as first, RawServer(says(b"")) as second:
        urls = first.url, second.url
    up = upstream(http, *urls)
    with pytest.raises(UpstreamFailed, match="cannot be reached") as caught:
        await call(up)
    assert caught.value.wire.next_target
    assert idle(up)


async def test_least_in_flight_avoids_the_busy_endpoint(http: HttpClient) -> None:
    """Calls go where fewer are under way, decided and counted in one step."""
    release = asyncio.Event()

    async def slow(peer: Peer) -> None:
        await peer.send(STREAM_HEAD + chunk(delta("x")))
        await release.wait()
        await peer.send(chunk(DONE) + END)

    async with RawServer(slow) as first, RawServer(slow) as second:
        up = upstream(http, first.url, second.url)
        replies: Sequence[UpstreamReply] = await asyncio.gather(*(call(up) for _ in range(8)))
        assert [endpoint.in_flight for endpoint in up.endpoints.all] == [4, 4]
        mine = [reply for reply in replies if reply.endpoint.endswith(str(first.port))]
        await asyncio.gather(*(reply.close() for reply in mine))
        assert [endpoint.in_flight for endpoint in up.endpoints.all] == [0, 4]
        more = await asyncio.gather(*(call(up) for _ in range(4)))
        assert {reply.endpoint for reply in more} == {f"127.0.0.1:{first.port}"}
        release.set()
        for reply in [*replies, *more]:
            await reply.close()
        assert idle(up)


async def test_one_reading_of_text_is_what_was_written(http: HttpClient) -> None:
    """A stream cut into single bytes gives the same text."""

    async def behave(peer: Peer) -> None:
        for at in range(len(STREAM)):
            await peer.send(STREAM[at : at + 1])
            await asyncio.sleep(0)

    async with RawServer(behave) as server:
        got = await events(await call(upstream(http, server.url)))
        assert "".join(event.text for event in got if isinstance(event, Text)) == "hello"
