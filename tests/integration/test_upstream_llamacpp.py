"""A real llama.cpp server called through a provider: answers, errors, and slots that are free again when we leave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.core.errors import GatewayFault, UpstreamRefusedUs
from gateway.core.plan import Target, Timeouts
from gateway.core.request import Request
from gateway.core.response import Response, fold
from gateway.core.secret import Secret
from gateway.demo.gguf import build_copy, build_tiny
from gateway.demo.llamacpp import LlamaServer
from gateway.dialects.registry import dialects
from gateway.providers.build import build
from gateway.providers.config import ProviderConfig
from gateway.providers.http_client import HttpClient
from gateway.providers.upstream import HttpUpstream
from gateway.providers.upstream_reply import UpstreamReply

DIALECTS = dialects()
TIMES = Timeouts(connect=5, ttft=30, idle=30, total=60)


def serving(server: LlamaServer) -> Iterator[LlamaServer]:
    asyncio.run(server.start())
    yield server
    asyncio.run(server.stop())


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaServer]:
    path = tmp_path_factory.mktemp("gguf") / "copy.gguf"
    build_copy(path)
    yield from serving(LlamaServer(path, alias="demo", api_key="sk-llama"))


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaServer]:
    """Says noise without end, and takes seconds to read a long prompt."""
    path: Path = tmp_path_factory.mktemp("gguf") / "slow.gguf"
    build_tiny(path, width=256, layers=4)
    yield from serving(LlamaServer(path, alias="demo", parallel=2))


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    client = HttpClient()
    yield client
    await client.aclose()


def upstream(http: HttpClient, server: LlamaServer, key: str = "sk-llama") -> HttpUpstream:
    config = ProviderConfig(type="llama-cpp", base_url=server.base_url, api_key=Secret(key))
    return build({"gpu": config}, DIALECTS, http)["gpu"]


def asks(text: str, **fields: Any) -> Request:
    body = {"model": "alias", "messages": [{"role": "user", "content": text}], **fields}
    return DIALECTS["openai"].read("chat", body)


async def call(up: HttpUpstream, request: Request) -> UpstreamReply:
    return await up.open(request, Target(provider="gpu", model="demo"), TIMES, traceparent="", headers={})


async def answer(up: HttpUpstream, request: Request) -> Response:
    reply = await call(up, request)
    try:
        return fold([event async for batch in reply.frames() for frame in batch for event in frame.events])
    finally:
        await reply.close()


@pytest.mark.parametrize("stream", [True, False])
async def test_it_answers(http: HttpClient, copy: LlamaServer, stream: bool) -> None:
    """Streamed or whole, the client's answer is the model's, with usage and an end."""
    response = await answer(upstream(http, copy), asks("say: zażółć, 日本語", stream=stream))
    assert response.choices[0].text == "zażółć, 日本語"
    assert response.choices[0].finish == "stop"
    assert response.complete
    assert response.usage is not None
    assert response.usage.output_tokens > 3


async def test_many_streams_in_a_row_on_kept_connections(http: HttpClient, copy: LlamaServer) -> None:
    """Forty-eight streams, four at a time: none is lost to a kept connection that the server had closed."""
    up = upstream(http, copy)

    async def some(first: int) -> list[str | None]:
        return [
            (await answer(up, asks(f"say: number {n}", stream=True))).choices[0].text for n in range(first, first + 12)
        ]

    got = await asyncio.gather(*(some(n) for n in (0, 12, 24, 36)))
    assert [text for texts in got for text in texts] == [f"number {n}" for n in range(48)]
    assert http.connections <= 4
    assert all(endpoint.in_flight == 0 for endpoint in up.endpoints.all)


async def test_its_errors_are_faults(http: HttpClient, copy: LlamaServer) -> None:
    """A wrong key is our fault's own kind, and the key is not in it."""
    with pytest.raises(UpstreamRefusedUs) as caught:
        await answer(upstream(http, copy, key="sk-wrong"), asks("hello"))
    assert "sk-wrong" not in repr(caught.value)


async def test_embeddings_are_refused_by_a_chat_model(http: HttpClient, copy: LlamaServer) -> None:
    """The engine's refusal of an operation comes back as a fault, not as an answer."""
    with pytest.raises(GatewayFault):
        await answer(upstream(http, copy), DIALECTS["openai"].read("embeddings", {"model": "alias", "input": "x"}))


@pytest.mark.parametrize("stream", [True, False])
async def test_leaving_after_the_first_token_frees_the_slot(http: HttpClient, slow: LlamaServer, stream: bool) -> None:
    """The engine stops soon after the reader left, also when its client wanted one whole answer."""
    reply = await call(upstream(http, slow), asks("hello", stream=stream, max_tokens=100_000, ignore_eos=True))
    async for _ in reply.frames():
        break
    assert await slow.busy() == 1
    await reply.close()
    assert await slow.until_busy(0, within=3) < 3
    assert http.connections == 0


@pytest.mark.parametrize("stream", [True, False])
async def test_leaving_before_the_first_token_frees_the_slot(http: HttpClient, slow: LlamaServer, stream: bool) -> None:
    """A call that is cancelled while the engine still reads the prompt stops the work, too.

    llama.cpp looks for its reader only when it has read the whole prompt (measured: a prompt of 8 s held its slot for 8 s
    after the socket was closed), so this prompt takes about a second.
    """
    request = asks(f"{stream} word " * 250, stream=stream, max_tokens=100_000, ignore_eos=True)
    task = asyncio.create_task(answer(upstream(http, slow), request))
    await slow.until_busy(1)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert http.connections == 0
    assert await slow.until_busy(0, within=10) < 10
