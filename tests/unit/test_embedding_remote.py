"""Vectors from a provider: batched, bounded, checked, and a failure that ends where it began. Over real sockets."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from gateway.core.clock import ManualClock, SystemClock
from gateway.core.errors import GatewayFault, Unavailable, UpstreamRejected
from gateway.core.plan import Target
from gateway.core.secret import Secret
from gateway.dialects.registry import dialects
from gateway.embedding.remote import RemoteEmbed
from gateway.providers.build import build
from gateway.providers.config import ProviderConfig
from gateway.providers.http_client import HttpClient
from gateway.providers.vectors import AskVectors
from tests.fixtures.fleet import Background
from tests.fixtures.upstream_server import Peer, RawServer, whole

DIM = 4


def vector(text: str) -> list[float]:
    """Not of length 1, and different for texts of different length."""
    return [3.0 + len(text), 1.0, 0.5, -2.0]


def reply(peer: Peer, **changes: Any) -> bytes:
    rows = [{"index": at, "embedding": vector(text)} for at, text in enumerate(peer.json["input"])]
    return json.dumps({"object": "list", "data": rows, "model": "v", **changes}).encode()


async def good(peer: Peer) -> None:
    await peer.send(whole(reply(peer)))


@asynccontextmanager
async def encoder(
    behave: Callable[[Peer], Awaitable[None]] = good, *, deadline: float = 5.0, clock: Any = None, **settings: Any
) -> AsyncIterator[tuple[RemoteEmbed, RawServer, list[list[str]]]]:
    asked: list[list[str]] = []

    async def noting(peer: Peer) -> None:
        asked.append(peer.json["input"])
        await behave(peer)

    async with RawServer(noting) as server:
        config = ProviderConfig(type="openai-compatible", base_url=f"{server.url}/v1", api_key=Secret("sk-embed"))
        target = Target(provider="up", model="v")
        http = HttpClient()

        def ask(client: HttpClient) -> AskVectors:
            return AskVectors(build({"up": config}, dialects(), client)["up"], target, dim=DIM)

        @asynccontextmanager
        async def apart() -> AsyncIterator[AskVectors]:
            own = HttpClient()
            try:
                yield ask(own)
            finally:
                await own.aclose()

        embed = RemoteEmbed("x:v:4", DIM, ask(http), apart, clock or SystemClock(), deadline=deadline, **settings)
        try:
            yield embed, server, asked
        finally:
            embed.close()
            await http.aclose()


async def test_vectors_come_in_order_at_length_one() -> None:
    """Whatever length the provider gives them, and in whatever order."""

    async def backwards(peer: Peer) -> None:
        rows = json.loads(reply(peer))["data"]
        await peer.send(whole(json.dumps({"data": rows[::-1]}).encode()))

    async with encoder(backwards) as (embed, _, _):
        made = await embed.embed(["a", "bbbb", "a"])
    assert made.shape == (3, DIM)
    assert made.dtype == np.float32
    assert np.allclose(np.linalg.norm(made, axis=1), 1.0)
    want = np.array([vector("a"), vector("bbbb"), vector("a")])
    assert np.allclose(made, want / np.linalg.norm(want, axis=1, keepdims=True), atol=1e-6)


async def test_the_call_is_the_providers_with_its_key_and_dimension() -> None:
    """`/embeddings` below its base URL, the texts, the dimension asked for, and nothing of any client."""
    async with encoder() as (embed, server, _asked):
        await embed.embed(["hello"])
        peer = server.requests[0]
        assert peer.line.startswith("POST /v1/embeddings ")
        assert peer.headers["authorization"] == "Bearer sk-embed"
        assert peer.json == {"model": "v", "input": ["hello"], "encoding_format": "float", "dimensions": DIM}


async def test_texts_of_one_turn_leave_in_one_call() -> None:
    """And one text that many want at once is asked for once."""
    async with encoder() as (embed, _server, asked):
        await asyncio.gather(*(embed.embed([text]) for text in ("one", "two", "three", "two")))
        assert asked == [["one", "two", "three"]]


async def test_calls_and_batches_are_bounded() -> None:
    """While four calls are under way the rest gathers, and leaves in batches of the configured size."""
    gate = asyncio.Event()

    async def slow(peer: Peer) -> None:
        await gate.wait()
        await good(peer)

    async with encoder(slow, batch=3) as (embed, _server, asked):
        tasks = [asyncio.create_task(embed.embed([f"text {at}"])) for at in range(20)]
        async with asyncio.timeout(5):
            while len(asked) < 4:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        gate.set()
        await asyncio.gather(*tasks)
        assert max(map(len, asked)) <= 3
        assert sum(map(len, asked)) == 20


async def test_more_than_may_wait_is_told_at_once() -> None:
    """A provider that hangs fills no memory."""
    async with encoder(lambda peer: peer.gone()) as (embed, _, _):
        tasks = [asyncio.create_task(embed.embed([f"{at} {n}" for n in range(60)])) for at in range(9)]
        await asyncio.sleep(0)
        with pytest.raises(TimeoutError, match="wait for the embedding provider"):
            await embed.embed(["one too many"] + [str(n) for n in range(40)])
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_recent_text_costs_no_call() -> None:
    """The router and the semantic cache often ask for the same one."""
    async with encoder() as (embed, _server, asked):
        first = await embed.embed(["again"])
        assert (await embed.embed(["again"]) == first).all()
        assert len(asked) == 1


async def test_a_provider_that_hangs_costs_the_deadline() -> None:
    """And the connection is dropped, so that it stops its work."""
    async with encoder(lambda peer: peer.gone(), deadline=0.05) as (embed, server, _asked):
        with pytest.raises((TimeoutError, Unavailable)):
            await embed.embed(["x"])
        await server.all_gone()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"not json", "could not be read"),
        (b"[]", "no JSON object"),
        (b'{"data": []}', "0 vectors came for 1 texts"),
        (b'{"data": [{"index": 0, "embedding": [1, 2, 3]}]}', "3 numbers, and embedding.dim says 4"),
        (b'{"data": [{"index": 7, "embedding": [1, 2, 3, 4]}]}', "not one for each"),
        (b'{"data": [{"index": 0, "embedding": [0, 0, 0, 0]}]}', "no direction"),
        (b'{"data": [{"index": 0, "embedding": [1e300, 1e300, 1, 1]}]}', "no direction"),
        (b'{"data": [{"index": 0, "embedding": "AAAA"}]}', "no list of embeddings"),
        (b'{"data": [{"index": 0, "embedding": [null, 1, 2, 3]}]}', "no list of embeddings"),
        (b'{"error": {"message": "the secret text", "type": "server_error"}}', ""),
    ],
)
async def test_what_is_no_vector_is_refused(body: bytes, said: str) -> None:
    """With the reason for who runs the gateway, and nothing of the body in it."""

    async def odd(peer: Peer) -> None:
        await peer.send(whole(body))

    async with encoder(odd) as (embed, _, _):
        with pytest.raises(Unavailable) as caught:
            await embed.embed(["x"])
        assert said in embed.trouble
        assert "secret" not in embed.trouble + str(caught.value)


async def test_a_provider_that_fails_is_left_alone_for_a_while() -> None:
    """After three failures in a row nothing is sent; then one call tries again, and all is well without a restart."""
    broken, clock = True, ManualClock()

    async def flaky(peer: Peer) -> None:
        await peer.send(whole(b"{}", "500 Internal Server Error") if broken else whole(reply(peer)))

    async with encoder(flaky, clock=clock) as (embed, _server, asked):
        for text in ("1", "2", "3"):
            with pytest.raises(GatewayFault):
                await embed.embed([text])
        before = len(asked)
        with pytest.raises(Unavailable, match="left alone"):
            await embed.embed(["4"])
        assert len(asked) == before
        assert embed.stats()["breaker_open"] == 1
        broken = False
        clock.advance(10.0)
        assert (await embed.embed(["5"])).shape == (1, DIM)
        assert embed.stats()["breaker_open"] == 0
        assert embed.trouble == ""


async def test_a_text_that_is_refused_breaks_nothing_for_others() -> None:
    """A user whose text a model cannot take must not switch the encoder off for everybody."""

    async def picky(peer: Peer) -> None:
        bad = "bad" in peer.json["input"]
        refused = b'{"error": {"message": "too long", "type": "invalid_request_error"}}'
        await peer.send(whole(refused, "400 Bad Request") if bad else whole(reply(peer)))

    async with encoder(picky) as (embed, _, _):
        for _ in range(5):
            with pytest.raises(UpstreamRejected):
                await embed.embed(["bad"])
        assert (await embed.embed(["good"])).shape == (1, DIM)


async def test_long_and_broken_texts_are_made_fit() -> None:
    """A megabyte is shortened and half a surrogate pair replaced before anything is sent."""
    async with encoder() as (embed, _server, asked):
        await embed.embed(["word " * 300_000, "half \ud800"])
        long, half = asked[0]
        assert len(long) <= 2048
        assert half == "half ?"


async def test_who_leaves_is_not_asked_for() -> None:
    """A text that nobody waits for any more leaves the queue unasked."""
    gate = asyncio.Event()

    async def slow(peer: Peer) -> None:
        await gate.wait()
        await good(peer)

    async with encoder(slow, batch=1) as (embed, _server, asked):
        first = [asyncio.create_task(embed.embed([str(at)])) for at in range(4)]
        async with asyncio.timeout(5):
            while len(asked) < 4:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        gone = asyncio.create_task(embed.embed(["gone"]))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        gate.set()
        await asyncio.gather(*first)
        assert ["gone"] not in asked


def test_many_are_encoded_apart_from_any_loop(background: Background) -> None:
    """Examples are learned before serving: in batches, in order, on the calling thread's time."""
    stack = encoder(batch=5)
    embed, _, asked = background.run(stack.__aenter__())
    texts = ["x" * (at % 17) for at in range(33)]
    made = embed.encode(texts)
    want = np.array([vector(text) for text in texts])
    assert np.allclose(made, want / np.linalg.norm(want, axis=1, keepdims=True), atol=1e-6)
    assert len(asked) == math.ceil(33 / 5)
    background.run(stack.__aexit__(None, None, None))
    with pytest.raises(GatewayFault):
        embed.encode(["nobody is there any more"])
