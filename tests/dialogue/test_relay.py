"""A request through the gateway and back, when nothing is wrong."""

from __future__ import annotations

from tests.fixtures.gateway import Converse


async def test_a_whole_answer_comes_back_whole(talk: Converse) -> None:
    """A reply that is not streamed is one JSON body that names the alias, not the upstream's model."""
    async with talk(models={"m": {"targets": [{"provider": "up", "model": "true-name"}]}}) as t:
        t.upstream.script("true-name", ["Hel", "lo"])
        reply = await t.ask("hi")
        assert (reply.status, reply.text, reply.finish) == (200, "Hello", "stop")
        assert reply.body["model"] == "m"
        assert reply.header("provider") == "up"
        assert reply.header("upstream-model") == "true-name"
        assert t.sent()["model"] == "true-name"
        receipt = await t.receipt()
        assert (receipt.outcome, receipt.status, len(receipt.attempts)) == ("ok", 200, 1)


async def test_a_streamed_answer_arrives_in_the_pieces_it_was_sent_in(talk: Converse) -> None:
    """A clean chunk is relayed as it came, and the stream ends in `[DONE]`."""
    async with talk() as t:
        t.upstream.script("m", ["Hel", "lo ", "you"])
        reply = await t.ask("hi", stream=True)
        assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert reply.headers["cache-control"] == "no-cache"
        assert "content-length" not in reply.headers
        pieces = [c["delta"].get("content") for e in reply.events for c in e["choices"]]
        assert [piece for piece in pieces if piece] == ["Hel", "lo ", "you"]
        assert (reply.finish, reply.done) == ("stop", True)
        receipt = await t.receipt()
        assert receipt.stream
        assert receipt.ttft is not None


async def test_fields_we_do_not_know_reach_the_upstream(talk: Converse) -> None:
    """Unknown request fields go upstream unchanged, at every depth."""
    async with talk() as t:
        t.upstream.script("m", ["ok"])
        odd = {"enable_thinking": True, "nested": {"a": [1, {"b": None}]}, "x": 1.5}
        await t.ask("hi", vendor_options=odd, logit_bias={"50256": -100})
        sent = t.sent()
        assert sent["vendor_options"] == odd
        assert sent["logit_bias"] == {"50256": -100}
        assert sent["messages"] == [{"role": "user", "content": "hi"}]


async def test_only_who_asks_for_usage_sees_a_usage_chunk(talk: Converse) -> None:
    """We always ask the upstream for usage; a client that did not ask never sees a chunk without choices."""
    async with talk() as t:
        t.upstream.script("m", ["ok"])
        silent = await t.ask("hi", stream=True)
        assert all(event["choices"] for event in silent.events)
        asked = await t.ask("hi", stream=True, stream_options={"include_usage": True})
        assert asked.events[-1]["choices"] == []
        assert asked.events[-1]["usage"]["total_tokens"] > 0
        assert t.sent(0)["stream_options"] == {"include_usage": True}
        assert (await t.receipt()).usage == (await t.receipt()).usage


async def test_the_clients_credential_never_goes_upstream(talk: Converse) -> None:
    """Keys and cookies end here; the trace goes on, with our attempt as the caller."""
    async with talk() as t:
        t.upstream.script("m", ["ok"])
        trace = "0af7651916cd43dd8448eb211c80319c"
        given = {
            "authorization": "Bearer client-secret",
            "x-api-key": "client-secret",
            "cookie": "session=client-secret",
            "traceparent": f"00-{trace}-b7ad6b7169203331-01",
        }
        await t.ask("hi", headers=given)
        received = t.upstream.requests[-1]
        assert all("client-secret" not in value for _, value in received.headers)
        receipt = await t.receipt()
        assert receipt.trace_id == trace
        assert receipt.parent_span_id == "b7ad6b7169203331"
        assert received.header("traceparent") == f"00-{trace}-{receipt.attempts[0].span_id}-01"


async def test_model_lists_name_aliases(talk: Converse) -> None:
    """`/v1/models` lists what may be asked for; an id gives one; an unknown id is a 404 in the dialect's shape."""
    async with talk() as t:
        listed = (await t.http.get("/v1/models")).json()
        assert [model["id"] for model in listed["data"]] == ["m", "spare"]
        assert (await t.http.get("/v1/models/m")).json()["id"] == "m"
        missing = await t.http.get("/v1/models/nope")
        assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")
        unknown = await t.http.post("/v1/nothing-here", json={})
        assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "not_found")
        wrong = await t.http.get("/v1/chat/completions")
        assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")


async def test_embeddings_pass_through(talk: Converse) -> None:
    """`/v1/embeddings` relays the vectors and names the alias."""
    async with talk(models={"e": {"targets": [{"provider": "up", "model": "ok"}]}}) as t:
        reply = await t.send({"model": "e", "input": ["a", "b"]}, "/v1/embeddings")
        assert reply.status == 200
        assert [item["index"] for item in reply.body["data"]] == [0, 1]
        assert reply.body["model"] == "e"
        assert (await t.receipt()).operation == "embeddings"


async def test_paths_answer_with_and_without_their_version(talk: Converse) -> None:
    """SDKs differ in whether `base_url` ends in `/v1`; both forms and the aliases answer."""
    async with talk() as t:
        t.upstream.script("m", ["ok"])
        body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
        for path in ("/chat/completions", "/v1/chat/completions", "/openai/v1/chat/completions"):
            assert (await t.send(body, path)).status == 200, path
        said = {**body, "max_tokens": 9}
        for path in ("/v1/messages", "/anthropic/v1/messages"):
            reply = await t.send(said, path)
            assert (reply.status, reply.body["content"][0]["text"]) == (200, "ok"), path
