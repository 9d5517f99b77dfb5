"""A client leaves a real llama.cpp behind the gateway: its slot is free again, in whatever phase the client left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gateway.demo.gguf import build_copy, build_tiny
from gateway.demo.llamacpp import LlamaServer
from tests.fixtures.gateway import Talk, conversation
from tests.fixtures.raw_client import MESSAGES, Left, RawClient, asking, post

FREE = 3.0
"""Seconds within which a slot must be free; the models below would talk for minutes."""


def serving(server: LlamaServer) -> Iterator[LlamaServer]:
    asyncio.run(server.start())
    yield server
    asyncio.run(server.stop())


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaServer]:
    """Talks without end, and takes a second to read a long prompt."""
    path = tmp_path_factory.mktemp("gguf") / "noise.gguf"
    build_tiny(path, width=256, layers=4)
    yield from serving(LlamaServer(path, alias="noise", parallel=2))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaServer]:
    """The demo's model."""
    path = tmp_path_factory.mktemp("gguf") / "demo.gguf"
    build_copy(path)
    yield from serving(LlamaServer(path, alias="demo", parallel=2))


@pytest.fixture
async def t(tmp_path: Path, noise: LlamaServer, demo: LlamaServer) -> AsyncIterator[Talk]:
    providers = {
        "noise": {"type": "llama-cpp", "base_url": noise.base_url},
        "demo": {"type": "llama-cpp", "base_url": demo.base_url},
    }
    models = {name: {"targets": [{"provider": name, "model": name}]} for name in providers}
    async with conversation(tmp_path, providers=providers, models=models) as talk:
        yield talk


def endless(text: str = "hello", *, stream: bool) -> bytes:
    return asking(text, model="noise", stream=stream, max_tokens=100_000, ignore_eos=True)


async def gone(t: Talk, server: LlamaServer, within: float = FREE) -> None:
    """The slot is free, and the one receipt says why."""
    assert await server.until_busy(0, within=within) < within
    receipt = await t.receipt()
    assert (receipt.outcome, [attempt.outcome for attempt in receipt.attempts]) == ("client_gone", ["cancelled"])
    assert len(t.ledger.all) == 1


async def test_leaving_a_stream_frees_the_slot(t: Talk, noise: LlamaServer) -> None:
    """After the first tokens."""
    async with Left(t), RawClient(t.url) as client:
        await client.send(post(endless(stream=True)))
        await client.until(b'"content"')
        assert await noise.busy() == 1
        client.leave()
        await gone(t, noise)


async def test_leaving_a_stream_in_the_other_dialect_frees_the_slot(t: Talk, noise: LlamaServer) -> None:
    """Translation between the two ends changes nothing of it."""
    async with Left(t), RawClient(t.url) as client:
        body = endless(stream=True).replace(b', "ignore_eos": true', b"")
        await client.send(post(body, MESSAGES))
        await client.until(b"text_delta")
        client.reset()
        await gone(t, noise)


async def test_leaving_a_whole_answer_frees_the_slot(t: Talk, noise: LlamaServer) -> None:
    """The client had seen nothing yet; the model was talking all the same."""
    async with Left(t), RawClient(t.url) as client:
        await client.send(post(endless(stream=False)))
        await noise.until_busy(1)
        client.leave()
        await gone(t, noise)


@pytest.mark.parametrize("stream", [True, False])
async def test_leaving_while_the_prompt_is_read_frees_the_slot(t: Talk, noise: LlamaServer, stream: bool) -> None:
    """Before the first token. llama.cpp looks for its reader only when it has read the whole prompt, so the slot is free
    a moment later; the gateway has let go at once."""
    async with Left(t), RawClient(t.url) as client:
        await client.send(post(endless(f"{stream} word " * 200, stream=stream)))
        await noise.until_busy(1)
        client.leave()
        await gone(t, noise, within=15)


async def test_the_demos_count_can_be_left(t: Talk, demo: LlamaServer) -> None:
    """What the tour shows with a longer count: an answer stopped by closing the connection."""
    async with Left(t), RawClient(t.url) as client:
        await client.send(post(asking("count to 500", model="demo", stream=True, max_tokens=20_000)))
        await client.until(b'"content":"1')
        client.leave()
        await gone(t, demo)


async def test_all_slots_are_free_for_the_next(t: Talk, noise: LlamaServer) -> None:
    """Three leave a server of two slots, the one that waited for a slot too; the fourth is served. No more than three,
    because the engine answers on as many threads as it has slots and two more, and would not tell us of its slots."""
    async with Left(t):
        clients = [RawClient(t.url) for _ in range(3)]
        for at, client in enumerate(clients):
            await client.__aenter__()
            await client.send(post(endless(stream=bool(at % 2))))
        await noise.until_busy(2)
        for client in clients:
            client.reset()
        receipts = [await t.receipt() for _ in clients]
        assert {receipt.outcome for receipt in receipts} == {"client_gone"}
        assert await noise.until_busy(0, within=FREE) < FREE
        reply = await t.ask("hello", model="noise", max_tokens=4)
        assert reply.status == 200
