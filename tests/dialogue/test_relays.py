"""Sound, files, uploads and batches: passed on and not understood, and still exchanges like all others."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest

from tests.fixtures.gateway import Converse, Talk
from tests.fixtures.keeper import Keeper

MODELS = {"hear": {"targets": [{"provider": "keep", "model": "hear-upstream"}], "price": {"input": 1.0, "output": 2.0}}}
RELAY = {"files": "keep", "uploads": "keep", "batches": "keep"}


@pytest.fixture
async def keeper() -> AsyncIterator[Keeper]:
    made = Keeper()
    async with made.server:
        yield made


def sections(keeper: Keeper, **more: Any) -> dict[str, Any]:
    providers = {"keep": {"type": "openai-compatible", "base_url": keeper.base_url, "api_key": "sk-upstream"}}
    return {"providers": providers, "models": MODELS, "relay": RELAY, **more}


def sdk(t: Talk, key: str = "-") -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{t.url}/v1", api_key=key, max_retries=0, timeout=20)


async def test_speech(talk: Converse, keeper: Keeper) -> None:
    """The sound comes back byte for byte, with its type and length; the model has the target's name; unknown fields stay."""
    async with talk(**sections(keeper)) as t:
        said = await sdk(t).audio.speech.create(model="hear", input="hello", voice="alloy", extra_body={"x": 1})
        assert said.content == keeper.sound
        assert said.response.headers["content-type"] == "audio/mpeg"
        assert int(said.response.headers["content-length"]) == len(keeper.sound)
        assert keeper.asked == {"model": "hear-upstream", "input": "hello", "voice": "alloy", "x": 1}
        receipt = await t.receipt()
        assert (receipt.operation, receipt.model, receipt.outcome) == ("speech", "hear", "ok")
        assert receipt.bytes_out == len(keeper.sound)
        assert [attempt.outcome for attempt in receipt.attempts] == ["ok"]


async def test_files(talk: Converse, keeper: Keeper) -> None:
    """A file is made, listed, read, and deleted with the official SDK, under an id that is not the provider's."""
    async with talk(**sections(keeper)) as t:
        client = sdk(t)
        made = await client.files.create(file=("in.jsonl", b'{"a": 1}\n'), purpose="batch")
        assert made.filename == "in.jsonl"
        assert made.id.startswith("file-tg")
        assert "upstream" not in made.id
        assert [file.id async for file in client.files.list()] == [made.id]
        assert (await client.files.retrieve(made.id)).bytes == 9
        assert (await client.files.content(made.id)).content == b'{"a": 1}\n'
        assert (await client.files.delete(made.id)).deleted
        assert keeper.files == {}
        (fields,) = keeper.forms
        assert fields["file"][0].startswith("tg-")
        assert fields["purpose"][1] == b"batch"
        assert all(peer.headers["authorization"] == "Bearer sk-upstream" for peer in keeper.server.requests)
