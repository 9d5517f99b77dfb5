"""A client may leave at any moment: the upstream learns of it, the receipt says so, and nothing of the call is left."""

from __future__ import annotations

import asyncio

import pytest

from gateway.core.receipt import Receipt
from gateway.faults.steps import HANG, Forever, Text
from tests.fixtures.gateway import Converse, Talk
from tests.fixtures.raw_client import CHAT, MESSAGES, Left, RawClient, asking, post, until

LEAVES = ["close", "reset"]
TWO = {"m": {"targets": [{"provider": "up", "model": "m"}], "on_failure": ["spare"]}}


def leave(client: RawClient, how: str) -> None:
    client.reset() if how == "reset" else client.leave()


async def gone(t: Talk, attempts: int) -> Receipt:
    """The one receipt, which says that the client is gone; the upstream saw every call dropped."""
    receipt = await t.receipt()
    assert (receipt.outcome, receipt.error) == ("client_gone", "")
    assert len(receipt.attempts) == attempts
    assert len(t.upstream.requests) == attempts
    for request in t.upstream.requests:
        assert await request.ended() == "left"
    await t.upstream.idle()
    assert len(t.ledger.all) == 1
    return receipt


@pytest.mark.parametrize("how", LEAVES)
@pytest.mark.parametrize("path", [CHAT, MESSAGES])
async def test_leaving_while_sending_the_body(talk: Converse, how: str, path: str) -> None:
    """No upstream is called for a request that was never whole."""
    async with talk() as t, Left(t):
        async with RawClient(t.url) as client:
            await client.send(post(asking()[:20], path, length=1000))
            await _inflight(t, 1)
            leave(client, how)
        receipt = await gone(t, 0)
        assert (receipt.status, receipt.model) == (0, "")
        assert [stage.outcome for stage in receipt.timeline] == ["ok", "cancelled"]


@pytest.mark.parametrize("how", LEAVES)
@pytest.mark.parametrize("stream", [False, True])
async def test_leaving_before_the_upstreams_first_byte(talk: Converse, how: str, stream: bool) -> None:
    """The call is dropped while it hangs, and no other target is asked."""
    async with talk(models=TWO) as t, Left(t):
        t.upstream.sequence("m", "hang-before-headers")
        async with RawClient(t.url) as client:
            await client.send(post(asking(stream=stream)))
            await t.upstream.received(1)
            leave(client, how)
            receipt = await gone(t, 1)
        assert receipt.status == 0
        assert receipt.attempts[0].outcome == "cancelled"
        assert t.spare.requests == []


@pytest.mark.parametrize("how", LEAVES)
@pytest.mark.parametrize("size", [70_000, 300_000, 5_000_000])
async def test_leaving_with_a_large_request(talk: Converse, how: str, size: int) -> None:
    """Reading is paused while a large body waits to be taken; a client that leaves after it is noticed all the same."""
    async with talk() as t, Left(t):
        t.upstream.sequence("m", "hang-before-headers")
        async with RawClient(t.url) as client:
            await client.send(post(asking("x" * size)))
            await t.upstream.received(1)
            leave(client, how)
            await gone(t, 1)


@pytest.mark.parametrize("stream", [False, True])
async def test_leaving_after_the_upstreams_headers(talk: Converse, stream: bool) -> None:
    """Headers from the upstream are no content: nothing was sent, and the call is dropped all the same."""
    async with talk() as t, Left(t):
        t.upstream.sequence("m", "hang-after-headers")
        async with RawClient(t.url) as client:
            await client.send(post(asking(stream=stream)))
            await t.upstream.received(1)
            client.leave()
            assert (await gone(t, 1)).status == 0


@pytest.mark.parametrize("how", LEAVES)
@pytest.mark.parametrize("path", [CHAT, MESSAGES])
async def test_leaving_in_the_middle_of_a_stream(talk: Converse, how: str, path: str) -> None:
    """The upstream stops as soon as nobody reads; the status that went out stands in the receipt."""
    async with talk() as t, Left(t):
        t.upstream.script("m", ["Hello", HANG])
        async with RawClient(t.url) as client:
            await client.send(post(asking(stream=True), path))
            await client.until(b"Hello")
            leave(client, how)
            receipt = await gone(t, 1)
        assert (receipt.status, receipt.ttft is not None) == (200, True)
        assert receipt.attempts[0].outcome == "cancelled"


@pytest.mark.parametrize("how", LEAVES)
async def test_leaving_an_endless_stream_of_text(talk: Converse, how: str) -> None:
    """Also when bytes are on their way all the time."""
    async with talk() as t, Left(t):
        t.upstream.script("m", [Forever(Text("on and on "))])
        async with RawClient(t.url) as client:
            await client.send(post(asking(stream=True)))
            await client.until(b"on and on")
            leave(client, how)
            await gone(t, 1)


@pytest.mark.parametrize("how", LEAVES)
async def test_leaving_a_call_that_is_not_streamed(talk: Converse, how: str) -> None:
    """Half a body from the upstream is thrown away with the call."""
    async with talk() as t, Left(t):
        t.upstream.script("m", ["Hello", HANG])
        async with RawClient(t.url) as client:
            await client.send(post(asking()))
            await t.upstream.received(1)
            leave(client, how)
            await gone(t, 1)


async def test_leaving_while_a_retry_waits(talk: Converse) -> None:
    """A wait between two tries ends with the client; the second try is never made."""
    async with talk() as t, Left(t):
        t.upstream.reply("m", 503, {"error": {"message": "busy"}}, retry_after="9")
        async with RawClient(t.url) as client:
            await client.send(post(asking()))
            (request,) = await t.upstream.received(1)
            await request.ended()
            client.leave()
            receipt = await t.receipt()
        assert (receipt.outcome, len(receipt.attempts), len(t.upstream.requests)) == ("client_gone", 1, 1)


async def test_leaving_the_second_target(talk: Converse) -> None:
    """Every attempt is in the receipt: the one that failed and the one that was cancelled."""
    async with talk(models={"m": {**TWO["m"], "retry": {"attempts": 1}}}) as t, Left(t):
        t.upstream.reply("m", 500, "")
        t.spare.sequence("m", "hang-before-headers")
        async with RawClient(t.url) as client:
            await client.send(post(asking()))
            (request,) = await t.spare.received(1)
            client.leave()
            receipt = await t.receipt()
        assert await request.ended() == "left"
        assert receipt.outcome == "client_gone"
        assert [attempt.outcome for attempt in receipt.attempts] == ["upstream_failed", "cancelled"]


async def test_a_half_closed_connection_is_a_client_that_left(talk: Converse) -> None:
    """One that will say nothing more and cannot be told from one that is gone: treated as gone, like most servers do."""
    async with talk() as t, Left(t):
        t.upstream.sequence("m", "hang-before-headers")
        async with RawClient(t.url) as client:
            await client.send(post(asking()))
            await t.upstream.received(1)
            client.writer.write_eof()
            await gone(t, 1)


async def test_leaving_with_a_request_sent_ahead(talk: Converse) -> None:
    """The answer under way is dropped though another request was sent after it, and that one is never begun."""
    async with talk() as t, Left(t):
        t.upstream.script("m", ["Hello", Forever(Text("more "))])
        async with RawClient(t.url) as client:
            await client.send(post(asking(stream=True)))
            await client.until(b"Hello")
            await client.send(post(asking()))
            client.reset()
            await gone(t, 1)


async def test_a_client_that_stops_reading_is_gone_after_a_while(talk: Converse) -> None:
    """Still connected, but taking nothing: after `server.write_timeout` it counts as gone, and so does its call."""
    async with talk(server={"write_timeout": "600ms"}) as t, Left(t):
        t.upstream.script("m", [Forever(Text("x" * 65_536))])
        async with RawClient(t.url, limit=1024) as client:
            await client.send(post(asking(stream=True)))
            await client.until(b"\r\n\r\n")
            await gone(t, 1)


async def test_a_client_that_stops_reading_cannot_outlast_its_deadline(talk: Converse) -> None:
    """The deadline passes while nothing can be sent: the upstream is let go at once."""
    async with talk(server={"write_timeout": "1s"}) as t, Left(t):
        t.upstream.script("m", [Forever(Text("x" * 65_536))])
        async with RawClient(t.url, limit=1024) as client:
            await client.send(post(asking(stream=True), x_tidegate_timeout_ms="300"))
            await client.until(b"\r\n\r\n")
            (request,) = t.upstream.requests
            assert await request.ended(within=0.9) == "left"
        await t.receipt()


async def test_a_slow_reader_gets_everything(talk: Converse) -> None:
    """Reading late is not leaving: each piece taken starts the clock again, and the answer is whole."""
    pieces = ["#" * 65_536] * 60
    async with talk(server={"write_timeout": "400ms"}) as t, Left(t):
        t.upstream.script("m", pieces)
        async with RawClient(t.url, limit=32_768, window=32_768) as client:
            await client.send(post(asking(stream=True)))
            taken = b""
            while not taken.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n"):
                taken += await client.reader.read(65_536)
                await asyncio.sleep(0.01)
        assert taken.count(b"#") == 65_536 * 60
        assert (await t.receipt()).outcome == "ok"


async def test_many_leave_at_once(talk: Converse) -> None:
    """Forty clients leave in every phase; forty receipts, and all counts are zero again."""
    async with talk() as t, Left(t):
        t.upstream.script("m", ["Hello", HANG])
        clients = [RawClient(t.url) for _ in range(40)]
        for at, client in enumerate(clients):
            await client.__aenter__()
            body = asking(stream=bool(at % 2))
            await client.send(post(body[: 20 if at % 4 == 0 else None], length=len(body)))
        await t.upstream.received(30)
        for client in clients:
            client.reset()
        receipts = [await t.receipt() for _ in clients]
        assert {receipt.outcome for receipt in receipts} == {"client_gone"}
        assert len({receipt.id for receipt in receipts}) == 40
        assert sum(len(receipt.attempts) for receipt in receipts) == 30
        await t.upstream.idle()


async def test_the_last_byte_ends_it_not_the_close_after_it(talk: Converse) -> None:
    """A client that closes right after a whole answer was no client that left."""
    async with talk() as t, Left(t):
        t.upstream.script("m", ["Hello"])
        for _ in range(20):
            async with RawClient(t.url) as client:
                await client.send(post(asking(stream=True)))
                await client.until(b"[DONE]\n\n\r\n0\r\n\r\n")
                client.reset()
        assert [(await t.receipt()).outcome for _ in range(20)] == ["ok"] * 20


async def _inflight(t: Talk, count: int) -> None:
    await until(lambda: t.gateway.spine.inflight == count)
