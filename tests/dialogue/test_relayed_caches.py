"""Vectors and ranks from the exact cache: bodies that are relayed and never made from events."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.core.response import Response, fold, unfold
from tests.dialogue.test_caches import STORES, settled, stored_in
from tests.fixtures.gateway import Converse, Reply, Talk
from tests.fixtures.raw_client import until

VECTORS = {
    "object": "list",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.25, -0.5]}],
    "model": "m",
    "usage": {"prompt_tokens": 3, "total_tokens": 3},
    "vendor": {"kept": True},
}
RANKED = {
    "id": "r-1",
    "model": "m",
    "results": [{"index": 1, "relevance_score": 0.9, "document": {"text": "b"}}],
    "usage": {"total_tokens": 12},
}
KINDS: dict[str, tuple[str, dict[str, Any], dict[str, Any], str]] = {
    "embeddings": ("/v1/embeddings", {"input": ["hi"]}, VECTORS, "input"),
    "rerank": ("/v1/rerank", {"query": "hi", "documents": ["a", "b"]}, RANKED, "query"),
}
SECTIONS: dict[str, Any] = {
    "models": {"alias": {"targets": [{"provider": "up", "model": "m"}], "price": {"input": 1.0, "output": 2.0}}},
    "routes": {"default": {"cache": {"exact": {"ttl": "1h"}}}},
}


async def ask(t: Talk, kind: str, **more: Any) -> Reply:
    path, body, _, _ = KINDS[kind]
    reply = await t.send({**body, "model": "alias", **more}, path)
    await settled(t)
    return reply


@STORES
@pytest.mark.parametrize("kind", KINDS)
async def test_the_same_texts_are_not_embedded_or_ranked_twice(
    talk: Converse, request: pytest.FixtureRequest, kind: str, store: str
) -> None:
    """The second answer is the first one's body, field for field, from the cache; it bills nothing and tells what it saved.
    Other texts and other parameters are asked for."""
    _, _, answer, field = KINDS[kind]
    async with talk(**SECTIONS, **stored_in(store, request)) as t:
        t.upstream.reply("m", 200, answer)
        fresh, again = await ask(t, kind), await ask(t, kind)
        assert (fresh.header("cache"), again.header("cache")) == ("miss", "hit")
        assert again.body == fresh.body == {**answer, "model": "alias"}
        assert len(t.upstream.requests) == 1
        await t.receipt()
        receipt = await t.receipt()
        assert (receipt.answer, receipt.usage, receipt.cost_usd) == ("cached", None, None)
        assert receipt.saved_usd is not None
        assert receipt.saved_usd > 0
        for more in ({field: "ho"}, {"dimensions": 1}, {"user": "x", "top_n": 1}):
            assert (await ask(t, kind, **more)).header("cache") == "miss"
        assert len(t.upstream.requests) == 4


@pytest.mark.parametrize("kind", KINDS)
async def test_identical_ones_wait_for_each_other(talk: Converse, kind: str) -> None:
    """20 at one time make one upstream call."""
    path, body, answer, _ = KINDS[kind]
    async with talk(**SECTIONS) as t:
        t.upstream.reply("m", 200, answer)
        sent = [asyncio.create_task(t.send({**body, "model": "alias"}, path)) for _ in range(20)]
        replies = await asyncio.gather(*sent)
        assert {reply.status for reply in replies} == {200}
        assert all(reply.body == {**answer, "model": "alias"} for reply in replies)
        assert len(t.upstream.requests) == 1
        await until(lambda: t.gateway.caches.stats()["default.coalescing"]["flights"] == 0)


async def test_each_operation_has_its_own_entries(talk: Converse) -> None:
    """The same body at another path is another question, and a chat is never answered with vectors."""
    async with talk(**SECTIONS) as t:
        t.upstream.reply("m", 200, VECTORS)
        body = {"model": "alias", "input": "hi", "query": "hi", "documents": ["a"], "prompt": "hi"}
        await t.send(body, "/v1/embeddings")
        await settled(t)
        t.upstream.reply("m", 200, RANKED)
        ranked = await t.send(body, "/v1/rerank")
        assert (ranked.header("cache"), ranked.body["results"]) == ("miss", RANKED["results"])


async def test_failures_and_images_are_not_kept(talk: Converse) -> None:
    """An error is asked again; images are relayed and never stored."""
    async with talk(**SECTIONS) as t:
        t.upstream.reply("m", 400, {"error": {"message": "no", "type": "invalid_request_error"}})
        assert (await ask(t, "embeddings")).status == 400
        t.upstream.reply("m", 200, VECTORS)
        assert (await ask(t, "embeddings")).header("cache") == "miss"
        t.upstream.reply("m", 200, {"created": 1, "data": [{"b64_json": "AA=="}]})
        for _ in range(2):
            image = await t.send({"model": "alias", "prompt": "a cat"}, "/v1/images/generations")
            assert (image.status, image.header("cache")) == (200, "bypass")


def test_a_relayed_body_survives_its_events() -> None:
    """Folded from its own events, the record is the same, body and all."""
    record = Response(model="m", complete=True, relayed=b'{"data": []}')
    assert fold(unfold(record)) == record
