"""A coding agent on the Responses API: all that it says arrives, and its reasoning finds its way home."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest

from tests.fixtures.dialects import payloads
from tests.fixtures.gateway import Converse, Reply, Talk
from tests.fixtures.thinkers import Thinker

TOOLS: list[dict[str, Any]] = [
    {"type": "function", "name": "shell", "strict": False, "parameters": {"type": "object", "properties": {}}},
    {
        "type": "custom",
        "name": "apply_patch",
        "format": {"type": "grammar", "syntax": "lark", "definition": "start: x"},
    },
    {"type": "web_search", "external_web_access": False},
    {"type": "local_shell"},
    {"type": "of_the_future", "with": {"nested": [1, 2, {"a": None}]}},
]
ITEMS: list[dict[str, Any]] = [
    {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "<permissions>"}]},
    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "fix the bug"}]},
    {"type": "local_shell_call", "id": "l", "call_id": "c1", "status": "completed", "action": {"command": ["ls"]}},
    {"type": "local_shell_call_output", "id": "l", "output": "a.py"},
    {"type": "custom_tool_call", "call_id": "c2", "name": "apply_patch", "input": "*** Begin Patch"},
    {"type": "custom_tool_call_output", "call_id": "c2", "output": "Done"},
    {"type": "ghost_snapshot", "ghost_commit": {"id": "abc", "parent": None}},
    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "go on"}]},
]
CODEX: dict[str, Any] = {
    "instructions": "You are a coding agent.",
    "tools": TOOLS,
    "tool_choice": "auto",
    "parallel_tool_calls": False,
    "reasoning": {"effort": "medium", "summary": "auto"},
    "store": False,
    "stream": True,
    "include": ["reasoning.encrypted_content"],
    "prompt_cache_key": "0198-session",
    "text": {"verbosity": "low"},
    "client_metadata": {"originator": "codex_cli"},
}
"""As recorded from an agent's command line, shortened."""
WHERE = pytest.mark.parametrize("stream", [False, True])


@pytest.fixture
async def thinkers() -> AsyncIterator[tuple[Thinker, Thinker]]:
    one, two = Thinker("one"), Thinker("two")
    async with one.server, two.server:
        yield one, two


def sections(thinkers: tuple[Thinker, Thinker], first: int = 1, second: int = 0, **more: Any) -> dict[str, Any]:
    """Model `m` at both, with these weights; model `chat` where reasoning is not known."""

    def providers(upstream: Any, _spare: Any) -> dict[str, Any]:
        native = {"type": "openai-compatible", "native": ["responses"]}
        made = {t.name: {**native, "base_url": f"{t.server.url}/v1"} for t in thinkers}
        return {**made, "chats": {"type": "openai-compatible", "base_url": upstream.base_url}}

    weights = (first, second)
    targets = [
        {"provider": t.name, "model": f"m-{t.name}", "weight": w} for t, w in zip(thinkers, weights, strict=True)
    ]
    chat = {"targets": [{"provider": "chats", "model": "m"}]}
    return {"providers": providers, "models": {"m": {"targets": targets}, "chat": chat}, **more}


async def ask(t: Talk, items: Any, *, stream: bool = False, model: str = "m", **fields: Any) -> Reply:
    return await t.send({**CODEX, **fields, "model": model, "input": items, "stream": stream}, "/v1/responses")


def output(reply: Reply, stream: bool) -> list[dict[str, Any]]:
    """The items of a whole answer."""
    body = payloads(reply.raw)[-1]["response"] if stream else reply.body
    items: list[dict[str, Any]] = body["output"]
    return items


@WHERE
async def test_all_that_an_agent_says_arrives(talk: Converse, thinkers: tuple[Thinker, Thinker], stream: bool) -> None:
    """Unknown tools, items and fields reach an upstream with this API as they were; only the model's name differs."""
    async with talk(**sections(thinkers)) as t:
        assert (await ask(t, ITEMS, stream=stream)).status == 200
        sent = {**CODEX, "model": "m-one", "input": ITEMS}
        assert thinkers[0].asked == [sent if stream else {k: v for k, v in sent.items() if k != "stream"}]


async def test_what_an_upstream_says_arrives(talk: Converse, thinkers: tuple[Thinker, Thinker]) -> None:
    """Every event comes as it left, unknown fields too; the model has our name, and reasoning says whose it is."""
    async with talk(**sections(thinkers)) as t:
        got = payloads((await ask(t, ITEMS, stream=True)).raw)
        wanted = json.loads(json.dumps(thinkers[0].sent))
        for event in wanted:
            if "response" in event:
                event["response"]["model"] = "m"
        text = json.dumps(wanted)
        (sealed,) = {item["encrypted_content"] for item in output_of(got) if item["type"] == "reasoning"}
        assert got == json.loads(text.replace(thinkers[0].secret, sealed))
        assert sealed.startswith(thinkers[0].secret + ".tg")


def output_of(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = events[-1]["response"]["output"]
    return items


@WHERE
async def test_reasoning_goes_home(talk: Converse, thinkers: tuple[Thinker, Thinker], stream: bool) -> None:
    """Whatever the weights, a conversation stays where it thought, also when another replica gets its next turn; the value
    arrives as it was made."""
    secret = {"secret": "shared by all replicas"}
    async with talk(**sections(thinkers, 1, 0, server=secret)) as t:
        first = output(await ask(t, ITEMS, stream=stream), stream)
    async with talk(**sections(thinkers, 1, 1_000_000, server=secret)) as t:
        for _ in range(3):
            reply = await ask(t, [*ITEMS, *first, {"role": "user", "content": "more"}], stream=stream)
            assert reply.header("provider") == "one"
            assert reply.header("warning") is None
    again = thinkers[0].asked[-1]["input"][len(ITEMS)]
    assert again == {
        "id": "rs_1",
        "type": "reasoning",
        "summary": [],
        "encrypted_content": "gAAAA-one-1",
        "new_field": 1,
    }
    assert thinkers[1].asked == []


@WHERE
async def test_another_provider_gets_the_conversation_without_it(
    talk: Converse, thinkers: tuple[Thinker, Thinker], stream: bool
) -> None:
    """When its own provider fails, the other is asked without the reasoning, and the client is told."""
    async with talk(**sections(thinkers)) as t:
        first = output(await ask(t, ITEMS, stream=stream), stream)
        thinkers[0].down = True
        reply = await ask(t, [*ITEMS, *first, {"role": "user", "content": "more"}], stream=stream)
        assert (reply.status, reply.header("provider")) == (200, "two")
        assert reply.header("warning") == "reasoning_stripped"
        (asked,) = thinkers[1].asked
        assert [item.get("type") for item in asked["input"]] == [*(i["type"] for i in ITEMS), "message", None]


async def test_a_chat_gets_it_without_too(talk: Converse, thinkers: tuple[Thinker, Thinker]) -> None:
    """A client that changes to a model elsewhere is told what was left out of its conversation."""
    async with talk(**sections(thinkers)) as t:
        t.upstream.script("m", ["ok"])
        first = output(await ask(t, "hi"), False)
        plain: dict[str, Any] = {"tools": [], "text": {}}
        reply = await ask(t, [*first, {"role": "user", "content": "more"}], model="chat", **plain)
        assert (reply.status, reply.header("warning")) == (200, "reasoning_stripped")


async def test_a_signature_that_is_not_ours_is_left_out(talk: Converse, thinkers: tuple[Thinker, Thinker]) -> None:
    """Of another gateway, or one that a client made up to reach a provider of its choice."""
    async with talk(**sections(thinkers)) as t:
        first = output(await ask(t, "hi"), False)
    async with talk(**sections(thinkers)) as t:  # another start, another secret
        reply = await ask(t, [*first, {"role": "user", "content": "more"}])
        assert (reply.status, reply.header("warning")) == (200, "reasoning_stripped")


async def test_what_cannot_be_left_out_is_refused_by_name(talk: Converse, thinkers: tuple[Thinker, Thinker]) -> None:
    """A compacted conversation is nothing without its encrypted part: a 400 names the item, and nobody is called."""
    async with talk(**sections(thinkers)) as t:
        (sealed, _) = output(await ask(t, "hi"), False)
        compact = {"type": "compaction", "encrypted_content": sealed["encrypted_content"]}
        assert (await ask(t, [compact, {"role": "user", "content": "more"}])).status == 200
        forged = {**compact, "encrypted_content": compact["encrypted_content"][:-1] + "x"}
        for given, model in ((compact, "chat"), ({**forged, "encrypted_content": "gAAAA.tg" + "0" * 24}, "m")):
            reply = await ask(t, [given, {"role": "user", "content": "more"}], model=model)
            assert (reply.status, reply.error["param"]) == (400, "input[0].encrypted_content")
        assert len(thinkers[0].asked) == 2


@WHERE
async def test_encrypted_reasoning_is_in_no_cache(
    talk: Converse, thinkers: tuple[Thinker, Thinker], stream: bool
) -> None:
    """A second asker would be told somebody else's thoughts, and nobody whose they are."""
    async with talk(**sections(thinkers, routes={"default": {"cache": {"exact": {"ttl": "1h"}}}})) as t:
        for _ in range(2):
            assert (await ask(t, "hi", stream=stream)).header("cache") == "miss"
            await t.receipt()
        assert len(thinkers[0].asked) == 2


@WHERE
async def test_with_the_official_sdk(talk: Converse, thinkers: tuple[Thinker, Thinker], stream: bool) -> None:
    """Two turns of a conversation, the items given back as the SDK made them."""
    async with talk(**sections(thinkers)) as t:
        client = openai.AsyncOpenAI(base_url=f"{t.url}/v1", api_key="-", max_retries=0, timeout=20)
        items: list[Any] = [{"role": "user", "content": "hi"}]
        for _ in range(2):
            given: Any = {"model": "m", "input": items, "store": False, "include": ["reasoning.encrypted_content"]}
            if stream:
                async with client.responses.stream(**given) as events:
                    made: Any = await events.get_final_response()
            else:
                made = await client.responses.create(**given)
            assert made.output_text == "from one"
            items += [item.to_dict() for item in made.output]
        assert thinkers[0].asked[1]["input"][1]["encrypted_content"] == "gAAAA-one-1"


# --- what belongs to the API beside the conversation


async def test_input_tokens(talk: Converse, thinkers: tuple[Thinker, Thinker]) -> None:
    """Counted by a provider that can, by the request that is given; else estimated, and it says so."""

    def providers(_upstream: Any, _spare: Any) -> dict[str, Any]:
        urls = [f"{thinker.server.url}/v1" for thinker in thinkers]
        return {
            "counts": {"type": "openai", "api_key": "-", "base_url": urls[0]},
            "other": {"type": "openai-compatible", "base_url": urls[1]},
        }

    models = {name: {"targets": [{"provider": name, "model": "m"}]} for name in ("counts", "other")}
    async with talk(providers=providers, models=models) as t:
        client = openai.AsyncOpenAI(base_url=f"{t.url}/v1", api_key="-", max_retries=0, timeout=20)
        told = await client.responses.input_tokens.count(model="counts", input="how many are these?")
        assert (told.object, told.input_tokens) == ("response.input_tokens", 1234)
        assert thinkers[0].asked == [{"model": "m", "input": "how many are these?"}]
        guess = await client.responses.input_tokens.count(model="other", input="how many are these?")
        assert guess.input_tokens > 1
        assert guess.to_dict()["estimated"] is True
        assert thinkers[1].asked == []
        receipt = await t.receipt()
        assert (receipt.operation, receipt.usage) == ("input_tokens", None)


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "resp_1"), ("DELETE", "resp_1"), ("POST", "resp_1/cancel"), ("GET", "resp_1/input_items")],
)
async def test_nothing_is_stored(talk: Converse, method: str, path: str) -> None:
    """Each path of a stored response is a 404 that says why, and what to do instead."""
    async with talk() as t:
        for root in ("/v1", "/openai/v1", ""):
            reply = await t.http.request(method, f"{root}/responses/{path}")
            assert (reply.status_code, reply.json()["error"]["code"]) == (404, "response_not_found")
            assert "keeps no responses" in reply.json()["error"]["message"]


@WHERE
@pytest.mark.parametrize("mode", ["window", "full"])
async def test_reasoning_goes_home_through_checks(
    talk: Converse, thinkers: tuple[Thinker, Thinker], stream: bool, mode: str
) -> None:
    """Where checks held the answer and it had to be written anew, its reasoning says whose it is all the same, once."""
    deny = {
        "use": "phrases",
        "on": ["input", "output"],
        "deny": ["from one on"],
        "action": "block",
        "on_error": "closed",
    }
    more = {"guardrails": {"deny": {**deny, "stream": mode}}, "routes": {"default": {"guardrails": ["deny"]}}}
    async with talk(**sections(thinkers, **more)) as t:
        first = output(await ask(t, ITEMS, stream=stream), stream)
        assert [item["type"] for item in first] == ["reasoning", "message"]
        assert first[0]["encrypted_content"].count(".tg") == 1
        reply = await ask(t, [*ITEMS, *first, {"role": "user", "content": "more"}], stream=stream)
        assert (reply.status, reply.header("warning")) == (200, None)
        assert thinkers[0].asked[-1]["input"][len(ITEMS)]["encrypted_content"] == "gAAAA-one-1"
