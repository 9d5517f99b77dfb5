"""TLS to upstreams: always verified, and as quick to leave as plain sockets."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

import pytest
import trustme
import uvloop

from gateway.providers.http_client import HttpClient, HttpReply
from gateway.providers.http_errors import ConnectFailed, ConnectTimeout, Disconnected
from tests.fixtures.upstream_server import CHAT, END, STREAM_HEAD, Peer, RawServer, chunk, whole


@pytest.fixture(params=["asyncio", "uvloop"])
def event_loop_policy(request: pytest.FixtureRequest) -> asyncio.AbstractEventLoopPolicy:
    return asyncio.DefaultEventLoopPolicy() if request.param == "asyncio" else uvloop.EventLoopPolicy()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def serving(authority: trustme.CA, name: str = "127.0.0.1") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def trusting(authority: trustme.CA) -> HttpClient:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return HttpClient(tls=context)


async def post(http: HttpClient, url: str) -> HttpReply:
    return await http.send("POST", url, [], b"{}", connect_timeout=2, read_timeout=2)


async def behave(peer: Peer) -> None:
    if "/stream" in peer.line:
        await peer.send(STREAM_HEAD + chunk(b"one"))
        await peer.gone()
    else:
        await peer.send(STREAM_HEAD + b"".join(chunk(b"%d," % i) for i in range(500)) + END)


async def test_answers_come_whole_over_tls(authority: trustme.CA) -> None:
    """Streams over TLS are whole, and connections are used again."""
    http = trusting(authority)
    async with RawServer(behave, serving(authority)) as server:
        for _ in range(3):
            reply = await post(http, server.url)
            got = b""
            while data := await reply.read():
                got += data
            assert got == b"".join(b"%d," % i for i in range(500))
        assert server.connections == 1
        await http.aclose()
        await server.all_gone()


async def test_leaving_a_tls_stream_closes_at_once(authority: trustme.CA) -> None:
    """The upstream sees that the reader of a TLS stream left."""
    http = trusting(authority)
    async with RawServer(behave, serving(authority)) as server:
        reply = await post(http, server.url + "/stream")
        assert await reply.read() == b"one"
        await reply.aclose()
        await server.all_gone(within=0.5)
    await http.aclose()


@pytest.mark.parametrize(
    ("client", "name"),
    [(lambda authority: HttpClient(), "127.0.0.1"), (trusting, "other.example")],
    ids=["unknown authority", "other name"],
)
async def test_a_certificate_that_does_not_verify_is_refused(
    authority: trustme.CA, client: Callable[[trustme.CA], HttpClient], name: str
) -> None:
    """Nothing is sent to a server whose certificate is not trusted or is another's."""
    http = client(authority)
    async with RawServer(behave, serving(authority, name)) as server:
        with pytest.raises(ConnectFailed, match="TLS"):
            await post(http, server.url)
        assert not server.requests
        assert http.connections == 0
    await http.aclose()


async def test_a_server_that_does_not_shake_hands_is_given_up(authority: trustme.CA) -> None:
    """The connect time-out covers the TLS handshake."""
    http = trusting(authority)

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(ConnectTimeout):
        await http.send("POST", f"https://127.0.0.1:{port}", [], b"", connect_timeout=0.1, read_timeout=1)
    assert http.connections == 0
    await http.aclose()
    server.close()


async def test_a_stale_tls_connection_is_tried_again(authority: trustme.CA) -> None:
    """A kept TLS connection that dies before the first byte costs one retry on a fresh one."""

    async def dies(peer: Peer) -> None:
        if peer.connection > 1 or peer.turn == 1:
            await peer.send(whole(CHAT))
        else:
            peer.abort()

    http = trusting(authority)
    async with RawServer(dies, serving(authority)) as server:
        for _ in range(2):
            reply = await post(http, server.url)
            assert await reply.read() == CHAT
        assert reply.retried
        assert server.connections == 2
    await http.aclose()


async def test_a_cut_tls_body_is_told(authority: trustme.CA) -> None:
    """A TLS connection that ends early is a cut, as with plain sockets."""

    async def cut(peer: Peer) -> None:
        await peer.send(STREAM_HEAD + chunk(b"one"))
        peer.abort()

    http = trusting(authority)
    async with RawServer(cut, serving(authority)) as server:
        reply = await post(http, server.url)
        assert await reply.read() == b"one"
        with pytest.raises(Disconnected):
            await reply.read()
    await http.aclose()
