"""Reranking and images: relayed, with the key checked, the texts checked and the use metered."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fixtures.gateway import Converse

RANKED = {
    "id": "r-1",
    "model": "m",
    "results": [{"index": 1, "relevance_score": 0.9, "document": {"text": "b"}}],
    "usage": {"total_tokens": 12},
}
DRAWN = {
    "created": 1,
    "data": [{"b64_json": "AA=="}],
    "usage": {"input_tokens": 5, "output_tokens": 7, "total_tokens": 12},
}
ASKED: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "rerank": ("/v1/rerank", {"query": "q", "documents": ["a", {"text": "b"}], "top_n": 1}, RANKED),
    "images": ("/v1/images/generations", {"prompt": "a cat", "size": "1024x1024"}, DRAWN),
}


@pytest.mark.parametrize("operation", ASKED)
async def test_both_ways_nothing_is_lost(talk: Converse, operation: str) -> None:
    """The request arrives with all its fields under the provider's own path; the reply comes back as it was; tokens count."""
    path, body, answer = ASKED[operation]
    models = {"alias": {"targets": [{"provider": "up", "model": "m"}], "price": {"input": 1.0, "output": 2.0}}}
    async with talk(models=models) as t:
        t.upstream.reply("m", 200, answer)
        reply = await t.send({**body, "model": "alias"}, path)
        assert reply.status == 200, reply.raw
        assert reply.body == ({**answer, "model": "alias"} if "model" in answer else answer)
        assert t.sent() == {**body, "model": "m"}
        assert t.upstream.requests[-1].path == path
        receipt = await t.receipt()
        assert (receipt.operation, receipt.model, receipt.outcome) == (operation, "alias", "ok")
        assert receipt.usage is not None
        assert receipt.usage.input_tokens + receipt.usage.output_tokens == 12
        assert receipt.cost_usd is not None


@pytest.mark.parametrize("operation", ASKED)
async def test_checks_hold(talk: Converse, operation: str) -> None:
    """A denied phrase in a query, a document or a prompt is refused before anybody is called."""
    path, body, _ = ASKED[operation]
    deny = {"use": "phrases", "on": ["input"], "deny": ["project bluebird"], "action": "block", "on_error": "closed"}
    async with talk(guardrails={"deny": deny}, routes={"default": {"guardrails": ["deny"]}}) as t:
        for field in {"query", "prompt"} & body.keys():
            reply = await t.send({**body, field: "of project bluebird", "model": "m"}, path)
            assert (reply.status, reply.error["code"]) == (400, "content_filter")
        assert t.upstream.requests == []


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/rerank", {"documents": ["a"]}, "query"),
        ("/v1/rerank", {"query": "q"}, "documents"),
        ("/v1/rerank", {"query": "q", "documents": [1]}, "documents[0]"),
        ("/v1/images/generations", {}, "prompt"),
        ("/v1/images/generations", {"prompt": "a cat", "stream": True}, "stream"),
    ],
)
async def test_a_wrong_type_is_named(talk: Converse, path: str, body: dict[str, Any], param: str) -> None:
    """What we own is checked where it stands."""
    async with talk() as t:
        reply = await t.send({**body, "model": "m"}, path)
        assert (reply.status, reply.error["param"]) == (400, param)


async def test_a_provider_that_has_no_such_thing_says_so(talk: Converse) -> None:
    """An operation that the profile does not list is a clear 400, and nobody is called."""

    def providers(upstream: Any, _spare: Any) -> dict[str, Any]:
        return {"up": {"type": "deepseek", "base_url": upstream.base_url, "api_key": "-"}}

    async with talk(providers=providers) as t:
        reply = await t.send({"model": "m", "query": "q", "documents": ["a"]}, "/v1/rerank")
        assert reply.status == 400
        assert "rerank" in reply.error["message"]
        assert t.upstream.requests == []
