"""The HTTP client over real sockets, against servers that behave and servers that do not, on both event loops."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator

import httpx
import pytest
import uvloop

from gateway.providers.http_client import HttpClient, HttpReply
from gateway.providers.http_connection import MAX_OVERHEAD
from gateway.providers.http_errors import (
    BadReply,
    ConnectFailed,
    ConnectTimeout,
    Disconnected,
    PoolFull,
    ReadTimeout,
)
from gateway.providers.http_pool import Limits
from gateway.providers.http_reply import HIGH_WATER
from tests.fixtures.upstream_server import CHAT, END, STREAM_HEAD, Behave, Peer, RawServer, chunk, until, whole


@pytest.fixture(params=["asyncio", "uvloop"])
def event_loop_policy(request: pytest.FixtureRequest) -> asyncio.AbstractEventLoopPolicy:
    return asyncio.DefaultEventLoopPolicy() if request.param == "asyncio" else uvloop.EventLoopPolicy()


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    client = HttpClient()
    yield client
    await client.aclose()
    assert client.connections == 0


async def post(http: HttpClient, url: str, body: bytes = b"{}", *, connect: float = 2, read: float = 2) -> HttpReply:
    return await http.send(
        "POST", url, [("content-type", "application/json")], body, connect_timeout=connect, read_timeout=read
    )


async def rest(reply: HttpReply) -> bytes:
    try:
        pieces = []
        while data := await reply.read():
            pieces.append(data)
        return b"".join(pieces)
    finally:
        await reply.aclose()


def says(data: bytes) -> Behave:
    async def behave(peer: Peer) -> None:
        await peer.send(data)

    return behave


async def test_connections_are_used_again(http: HttpClient) -> None:
    """Requests one after the other share one connection, whole and chunked replies alike."""

    async def behave(peer: Peer) -> None:
        await peer.send(whole(CHAT) if peer.turn % 2 else STREAM_HEAD + chunk(b"a") + chunk(b"b") + END)

    async with RawServer(behave) as server:
        got = [await rest(await post(http, server.url)) for _ in range(6)]
        assert got == [CHAT, b"ab"] * 3
        assert server.connections == 1


async def test_the_request_is_what_was_asked_for(http: HttpClient) -> None:
    """Method, path, host and body arrive as given; compression, cookies and redirects are not asked for."""
    async with RawServer(says(whole(CHAT, extra="set-cookie: a=b\r\n"))) as server:
        await rest(await post(http, server.url + "/v1/chat?x=%20y", b'{"a":1}'))
        await rest(await post(http, server.url + "/v1/chat?x=%20y", b'{"a":1}'))
        peer = server.requests[-1]
        assert peer.line == "POST /v1/chat?x=%20y HTTP/1.1"
        assert peer.body == b'{"a":1}'
        assert peer.headers == {
            "host": f"127.0.0.1:{server.port}",
            "accept-encoding": "identity",
            "content-type": "application/json",
            "content-length": "7",
        }


@pytest.mark.parametrize("value", ["a\r\nevil: 1", "a\nb", "a\0b"])
async def test_a_header_cannot_smuggle_another(http: HttpClient, value: str) -> None:
    """A line break in a header's value is refused before anything is sent."""
    async with RawServer(says(whole(CHAT))) as server:
        with pytest.raises(ValueError, match="line break"):
            await http.send("POST", server.url, [("x", value)], b"", connect_timeout=1, read_timeout=1)
        assert server.connections == 0


async def test_streams_lose_no_byte(http: HttpClient) -> None:
    """However the bytes of a chunked body are cut into packets, they arrive whole, in order, at eight at a time."""
    body = bytes(range(256)) * 40
    wire = STREAM_HEAD + b"".join(chunk(body[i : i + 37]) for i in range(0, len(body), 37)) + END

    async def behave(peer: Peer) -> None:
        step = 1 + peer.connection * 7
        for at in range(0, len(wire), step):
            await peer.send(wire[at : at + step])
            if at % 5 == 0:
                await asyncio.sleep(0)

    async with RawServer(behave) as server:
        replies = await asyncio.gather(*(post(http, server.url) for _ in range(8)))
        assert await asyncio.gather(*map(rest, replies)) == [body] * 8


async def test_what_arrives_together_is_read_together(http: HttpClient) -> None:
    """Chunks that came in one packet come out of one read."""
    async with RawServer(says(STREAM_HEAD + chunk(b"a") + chunk(b"b") + chunk(b"c") + END)) as server:
        reply = await post(http, server.url)
        assert await reply.read() == b"abc"
        assert await reply.read() == b""


async def test_a_slow_reader_holds_the_upstream_back(http: HttpClient) -> None:
    """A reader that does not read bounds what is held for it, and still gets every byte when it goes on."""
    total = 64 * HIGH_WATER
    sent = 0

    async def behave(peer: Peer) -> None:
        nonlocal sent
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % total)
        while sent < total:
            await peer.send(b"x" * HIGH_WATER)
            sent += HIGH_WATER

    async with RawServer(behave) as server:
        reply = await post(http, server.url)
        before = -1
        while sent != before:  # until the server is stuck
            before = sent
            await asyncio.sleep(0.05)
        assert sent < total
        first = await reply.read()
        assert len(first) < 4 * HIGH_WATER
        assert len(first) + len(await rest(reply)) == total


async def test_a_body_without_a_length_ends_with_the_connection(http: HttpClient) -> None:
    """HTTP/1.0 habit: the end of the connection is the end of the body, and the connection is not used again."""

    async def behave(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
        peer.writer.close()

    async with RawServer(behave) as server:
        assert await rest(await post(http, server.url)) == b"hello"
        assert await rest(await post(http, server.url)) == b"hello"
        assert server.connections == 2


@pytest.mark.parametrize(
    "wire",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello",
        STREAM_HEAD + chunk(b"hello"),
        STREAM_HEAD + b"10\r\nhello",
    ],
)
async def test_a_cut_body_is_never_taken_for_a_whole_one(http: HttpClient, wire: bytes) -> None:
    """What came is given, and then the cut is told."""

    async def behave(peer: Peer) -> None:
        await peer.send(wire)
        peer.writer.close()

    async with RawServer(behave) as server:
        reply = await post(http, server.url)
        assert await reply.read() == b"hello"
        with pytest.raises(Disconnected) as caught:
            await reply.read()
        assert caught.value.received


@pytest.mark.parametrize(
    "wire",
    [
        b"no http at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * (2 * MAX_OVERHEAD),
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n",
    ],
)
async def test_replies_that_are_not_proper_http_are_refused(http: HttpClient, wire: bytes) -> None:
    """Bytes that two readers could understand differently, or that never end, are nobody's answer."""

    async def behave(peer: Peer) -> None:
        await peer.send(wire)
        await peer.gone()

    async with RawServer(behave) as server:
        with pytest.raises(BadReply):
            await post(http, server.url)
        await server.all_gone()


async def test_a_broken_chunk_is_told(http: HttpClient) -> None:
    """A body that stops being HTTP halfway ends in an error and a closed connection."""

    async def behave(peer: Peer) -> None:
        await peer.send(STREAM_HEAD + chunk(b"ok") + b"zz\r\nboo\r\n")
        await peer.gone()

    async with RawServer(behave) as server:
        reply = await post(http, server.url)
        assert await reply.read() == b"ok"
        with pytest.raises(BadReply):
            await reply.read()
        await server.all_gone()


async def test_interim_replies_are_skipped(http: HttpClient) -> None:
    """A 103 before the answer is not the answer."""
    wire = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + whole(CHAT)
    async with RawServer(says(wire)) as server:
        reply = await post(http, server.url)
        assert reply.status == 200
        assert "link" not in reply.headers
        assert await rest(reply) == CHAT


@pytest.mark.parametrize("when", ["together", "later"])
async def test_bytes_nobody_asked_for_end_the_connection(http: HttpClient, when: str) -> None:
    """A second reply to one request is never taken for the answer to the next."""
    evil = whole(b'"evil"')

    async def behave(peer: Peer) -> None:
        if when == "together":
            await peer.send(whole(CHAT) + evil)
        else:
            await peer.send(whole(CHAT))
            await peer.send(evil)
        await peer.gone()

    async with RawServer(behave) as server:
        for _ in range(3):
            assert await rest(await post(http, server.url)) == CHAT
            await server.all_gone()
        assert server.connections == 3


# --- leaving


async def test_leaving_before_the_head_closes_at_once(http: HttpClient) -> None:
    """A call that is cancelled while the upstream thinks closes the connection, so the upstream can stop."""
    asked, left = asyncio.Event(), asyncio.Event()

    async def behave(peer: Peer) -> None:
        asked.set()
        await peer.gone()
        left.set()

    async with RawServer(behave) as server:
        call = asyncio.create_task(post(http, server.url, read=60))
        await asyncio.wait_for(asked.wait(), 2)
        call.cancel()
        await asyncio.wait_for(left.wait(), 0.5)
        with pytest.raises(asyncio.CancelledError):
            await call


@pytest.mark.parametrize("how", ["cancel", "close"])
async def test_leaving_a_stream_closes_at_once(http: HttpClient, how: str) -> None:
    """Leaving in the middle of a stream, by cancellation or by closing, is seen by the upstream."""
    left = asyncio.Event()

    async def behave(peer: Peer) -> None:
        await peer.send(STREAM_HEAD + chunk(b"one"))
        await peer.gone()
        left.set()

    async with RawServer(behave) as server:
        reply = await post(http, server.url, read=60)
        assert await reply.read() == b"one"
        if how == "cancel":
            task = asyncio.create_task(rest(reply))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            await reply.aclose()
        await asyncio.wait_for(left.wait(), 0.5)
        with pytest.raises(Disconnected):
            await reply.read()


async def test_leaving_while_connecting_leaves_nothing(http: HttpClient) -> None:
    """A call cancelled before there is a connection leaves no connection and no count behind."""
    async with RawServer(says(whole(CHAT))) as server:
        for turns in range(6):
            call = asyncio.create_task(post(http, server.url))
            for _ in range(turns):
                await asyncio.sleep(0)
            call.cancel()
            (done,) = await asyncio.gather(call, return_exceptions=True)
            if not isinstance(done, asyncio.CancelledError):  # it was faster
                assert not isinstance(done, BaseException)
                await done.aclose()
        await until(lambda: http.connections == http.idle == server.open)


async def test_a_drained_reply_keeps_its_connection(http: HttpClient) -> None:
    """A reader that has the last event need not wait for the end of the body: it comes by itself."""
    go = asyncio.Event()

    async def behave(peer: Peer) -> None:
        await peer.send(STREAM_HEAD + chunk(b"[DONE]"))
        await go.wait()
        await peer.send(END)

    async with RawServer(behave) as server:
        reply = await post(http, server.url)
        assert await reply.read() == b"[DONE]"
        await reply.drain()
        await reply.aclose()
        go.set()
        await until(lambda: http.idle)
        assert await rest(await post(http, server.url)) == b"[DONE]"
        assert server.connections == 1


async def test_a_drained_reply_that_goes_on_is_dropped(http: HttpClient) -> None:
    """An upstream that says it is done and talks on is hung up on."""

    async def behave(peer: Peer) -> None:
        await peer.send(STREAM_HEAD + chunk(b"[DONE]"))
        while True:
            await peer.send(chunk(b"x" * 10_000))
            await asyncio.sleep(0.001)

    async with RawServer(behave) as server:
        reply = await post(http, server.url)
        await reply.read()
        await reply.drain()
        await server.all_gone()


# --- stale connections


def dies(when: str) -> Behave:
    """Serves the first request of the first connection, then dies in one of several ways at the second."""

    async def behave(peer: Peer) -> None:
        if peer.connection > 1 or peer.turn == 1:
            await peer.send(whole(CHAT))
        elif when == "reset":
            peer.abort()
        elif when == "half a head":
            await peer.send(b"HTTP/1.1 200")
            peer.abort()
        else:
            peer.writer.close()

    return behave


@pytest.mark.parametrize("when", ["close", "reset"])
async def test_a_reused_connection_that_died_is_tried_again_once(http: HttpClient, when: str) -> None:
    """The upstream closed an idle connection just as we wrote: the request goes again, on a fresh one."""
    async with RawServer(dies(when)) as server:
        first = await post(http, server.url)
        assert not first.retried
        await rest(first)
        second = await post(http, server.url)
        assert second.retried
        assert await rest(second) == CHAT
        assert server.connections == 2
        assert len(server.requests) == 3


async def test_it_is_not_tried_again_after_the_first_byte(http: HttpClient) -> None:
    """One byte of an answer means that the upstream took the request: it is not sent twice."""
    async with RawServer(dies("half a head")) as server:
        await rest(await post(http, server.url))
        with pytest.raises(Disconnected) as caught:
            await post(http, server.url)
        assert caught.value.received
        assert len(server.requests) == 2


async def test_a_fresh_connection_that_dies_is_not_tried_again(http: HttpClient) -> None:
    """The upstream had the request, and nothing says that it did not act on it."""

    async def behave(peer: Peer) -> None:
        peer.writer.close()

    async with RawServer(behave) as server:
        with pytest.raises(Disconnected) as caught:
            await post(http, server.url)
        assert not caught.value.received
        assert len(server.requests) == 1


async def test_it_is_tried_again_only_once(http: HttpClient) -> None:
    """When the fresh connection dies, too, that is the answer, however many idle ones there are."""

    async def behave(peer: Peer) -> None:
        if len(peer.server.requests) <= 4:
            await peer.send(whole(CHAT))
        else:
            peer.writer.close()

    async with RawServer(behave) as server:
        replies = await asyncio.gather(*(post(http, server.url) for _ in range(4)))
        await asyncio.gather(*map(rest, replies))
        with pytest.raises(Disconnected):
            await post(http, server.url)
        assert len(server.requests) == 6


async def test_an_idle_connection_that_the_upstream_closes_leaves_the_pool(http: HttpClient) -> None:
    """A closed idle connection is noticed while it is idle."""

    async def behave(peer: Peer) -> None:
        await peer.send(whole(CHAT))
        peer.writer.close()

    async with RawServer(behave) as server:
        await rest(await post(http, server.url))
        await until(lambda: not http.connections)


# --- bounds and time


async def test_no_more_connections_than_allowed() -> None:
    """Requests beyond the bound wait their turn; all are served, and never more than the bound at once."""
    http = HttpClient(limits=Limits(connections=3))
    most = 0

    async def behave(peer: Peer) -> None:
        nonlocal most
        most = max(most, peer.server.open)
        await asyncio.sleep(0.001)
        await peer.send(whole(CHAT))

    async with RawServer(behave) as server:

        async def one() -> bytes:
            return await rest(await post(http, server.url))

        assert await asyncio.gather(*(one() for _ in range(40))) == [CHAT] * 40
        assert most <= 3
        assert server.connections == 3
    await http.aclose()


async def test_waiting_for_a_connection_is_bounded() -> None:
    """The queue has a length and the wait a time-out, and whoever leaves the queue passes its turn on."""
    http = HttpClient(limits=Limits(connections=1, waiting=2))
    go = asyncio.Event()

    async def behave(peer: Peer) -> None:
        await go.wait()
        await peer.send(whole(CHAT))

    async with RawServer(behave) as server:
        first = asyncio.create_task(post(http, server.url))
        await until(lambda: server.requests)
        late = asyncio.create_task(post(http, server.url, connect=0.05))
        patient = asyncio.create_task(post(http, server.url))
        await asyncio.sleep(0)
        with pytest.raises(PoolFull):
            await post(http, server.url)
        with pytest.raises(ConnectTimeout):
            await late
        go.set()
        assert await rest(await first) == CHAT
        assert await rest(await patient) == CHAT
    await http.aclose()


async def test_cancelled_waiters_pass_their_turn_on() -> None:
    """Whatever waiter is cancelled, and when, the others get their connection."""
    http = HttpClient(limits=Limits(connections=1))
    async with RawServer(says(whole(CHAT))) as server:

        async def one() -> bytes:
            return await rest(await post(http, server.url))

        for turns in range(12):
            tasks = [asyncio.create_task(one()) for _ in range(6)]
            for _ in range(turns):
                await asyncio.sleep(0)
            for task in tasks[1:5]:
                task.cancel()
            done = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)
            assert done[0] == done[5] == CHAT
    await http.aclose()


async def test_idle_connections_are_bounded_and_grow_old() -> None:
    """No more idle connections are kept than allowed, and none for longer than allowed."""
    http = HttpClient(limits=Limits(idle=2, idle_for=0.05))

    async def behave(peer: Peer) -> None:
        await asyncio.sleep(0.02)
        await peer.send(whole(CHAT))

    async with RawServer(behave) as server:
        replies = await asyncio.gather(*(post(http, server.url) for _ in range(6)))
        await asyncio.gather(*map(rest, replies))
        assert http.connections == 2
        await server.all_gone()
        assert http.connections == 0
    await http.aclose()


async def test_an_upstream_that_says_nothing_is_given_up(http: HttpClient) -> None:
    """Before the head and between reads, the time-out ends the wait and the connection."""

    async def behave(peer: Peer) -> None:
        if peer.line.startswith("POST /stream"):
            await peer.send(STREAM_HEAD + chunk(b"one"))
        await peer.gone()

    async with RawServer(behave) as server:
        loop = asyncio.get_running_loop()
        start = loop.time()
        with pytest.raises(ReadTimeout):
            await post(http, server.url, read=0.1)
        assert 0.09 <= loop.time() - start < 1
        reply = await post(http, server.url + "/stream", read=0.1)
        assert await reply.read() == b"one"
        with pytest.raises(ReadTimeout):
            await reply.read()
        await server.all_gone()


async def test_time_outs_can_be_changed_between_reads(http: HttpClient) -> None:
    """A shorter time-out, or a deadline, set after the head holds from the next read on."""

    async def behave(peer: Peer) -> None:
        await peer.send(STREAM_HEAD + chunk(b"one"))
        await peer.gone()

    async with RawServer(behave) as server:
        loop = asyncio.get_running_loop()
        for change in ("read_timeout", "deadline"):
            reply = await post(http, server.url, read=60)
            assert await reply.read() == b"one"
            if change == "read_timeout":
                reply.read_timeout = 0.05
            else:
                reply.deadline = loop.time() + 0.05
            with pytest.raises(ReadTimeout):
                await asyncio.wait_for(reply.read(), 2)


async def test_a_time_out_of_one_reply_is_not_the_next_ones(http: HttpClient) -> None:
    """A connection's old timer must not end a later, slower reply on it."""

    async def behave(peer: Peer) -> None:
        await asyncio.sleep(0.15 if peer.turn == 2 else 0)
        await peer.send(whole(CHAT))

    async with RawServer(behave) as server:
        await rest(await post(http, server.url, read=0.1))
        assert await rest(await post(http, server.url, read=1)) == CHAT
        assert server.connections == 1


async def test_nobody_there_is_told(http: HttpClient) -> None:
    """A refused connection and a host that does not exist fail at once, and leave no count."""
    async with RawServer(says(b"")) as server:
        url = server.url
    with pytest.raises(ConnectFailed):
        await post(http, url)
    with pytest.raises(ConnectFailed):
        await post(http, "http://nobody.invalid")
    assert http.connections == 0


# --- compressed although identity was asked for


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_compressed_reply_is_decoded(http: HttpClient, encoding: str) -> None:
    """A stream that comes compressed anyway is read as if it had not been, event by event."""
    events = [b"data: %d\n\n" % i * 50 for i in range(20)]
    packer = zlib.compressobj(wbits=31 if encoding == "gzip" else 15)
    pieces = [packer.compress(event) + packer.flush(zlib.Z_SYNC_FLUSH) for event in events] + [packer.flush()]
    head = STREAM_HEAD.replace(b"\r\n\r\n", b"\r\ncontent-encoding: " + encoding.encode() + b"\r\n\r\n")

    async def behave(peer: Peer) -> None:
        await peer.send(head)
        for piece in pieces:
            await peer.send(chunk(piece))
            await asyncio.sleep(0.001)
        await peer.send(END)

    async with RawServer(behave) as server:
        reply = await post(http, server.url)
        assert "content-encoding" not in reply.headers
        assert await rest(reply) == b"".join(events)
        await rest(await post(http, server.url))
        assert server.connections == 1


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(b"\0" * 300_000_000, 9)),
        ("gzip", gzip.compress(CHAT)[:-12]),
        ("gzip", gzip.compress(CHAT) + b"more"),
        ("gzip", b"not gzip"),
        ("br", b"whatever"),
    ],
    ids=["bomb", "cut", "more", "damaged", "unknown"],
)
async def test_a_bad_compressed_reply_is_refused(http: HttpClient, encoding: str, body: bytes) -> None:
    """Bombs, cuts and encodings that nobody asked for end in an error, after a bounded amount of work."""
    async with RawServer(says(whole(body, extra=f"content-encoding: {encoding}\r\n"))) as server:
        with pytest.raises(BadReply):
            await rest(await post(http, server.url))


# --- over a transport that is handed in


async def test_an_httpx_transport_can_be_put_beneath() -> None:
    """The same requests go over any httpx transport: streamed, closed early, refused, timed out."""
    left = asyncio.Event()

    async def behave(peer: Peer) -> None:
        if "/stream" in peer.line:
            await peer.send(STREAM_HEAD + chunk(b"one"))
            await peer.gone()
            left.set()
        elif "/silent" in peer.line:
            await peer.gone()
        else:
            await peer.send(whole(CHAT))

    http = HttpClient(transport=httpx.AsyncHTTPTransport())
    async with RawServer(behave) as server:
        assert await rest(await post(http, server.url)) == CHAT
        assert server.requests[-1].headers["accept-encoding"] == "identity"
        reply = await post(http, server.url + "/stream")
        assert await reply.read() == b"one"
        await reply.aclose()
        await asyncio.wait_for(left.wait(), 1)
        with pytest.raises(ReadTimeout):
            await post(http, server.url + "/silent", read=0.1)
        url = server.url
    with pytest.raises(ConnectFailed):
        await post(http, url)
    await http.aclose()


async def test_a_proxy_is_used_when_one_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests of a client made `through` a proxy go to it; the environment's proxies are nobody's wish."""
    async with RawServer(says(whole(b'"proxy"'))) as proxy, RawServer(says(whole(CHAT))) as server:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("http_proxy", proxy.url)
        http = HttpClient()
        assert await rest(await post(http, server.url)) == CHAT
        assert await rest(await post(http.through(proxy.url), "http://upstream.example/v1")) == b'"proxy"'
        assert proxy.requests[-1].line == "POST http://upstream.example/v1 HTTP/1.1"
        await http.aclose()
