"""Applications keep results of their own tools and retrievals: asked before the tool runs, stored after."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway import config as configuration
from gateway.admission.config import KeyEntry, KeyFile
from gateway.admission.keyring import hash_of, new_key, write_key_file
from gateway.commands.check import report_of, text_of
from gateway.configuring.problems import ConfigError
from tests.fixtures.gateway import Converse, Reply, Talk
from tests.fixtures.redis import RedisServer

EXACT = {"weather": {"ttl": "10m", "tags": ["tools"]}, "rates": {"ttl": "10m"}}
SEMANTIC = {"docs": {"kind": "semantic", "partition": "tenant"}}
LIMA = {"tool": "get_weather", "arguments": {"city": "Lima", "unit": "C"}}
QUERY, LIKE_IT = "What is the default port of Postgres?", "hi, what's the default port of postgres, please"


async def call(t: Talk, verb: str, namespace: str = "weather", /, key: str = "", user: str = "", **body: Any) -> Reply:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    if user:
        headers["x_tidegate_user"] = user
    return await t.send(body, f"/v1/cache/{namespace}/{verb}", **headers)


async def look(t: Talk, *names: str, **body: Any) -> dict[str, Any]:
    reply = await call(t, "lookup", *names, **body)
    assert reply.status == 200, reply.raw
    return reply.body


async def put(t: Talk, *names: str, **body: Any) -> dict[str, Any]:
    reply = await call(t, "store", *names, **body)
    assert reply.status == 200, reply.raw
    return reply.body


async def warm(t: Talk, *texts: str) -> None:
    """Embeds without the gateway's own deadline for it."""
    from cache.text import normalise

    embed = t.gateway.encoders.local
    assert embed is not None
    for text in texts:
        while True:
            try:
                await embed.embed([normalise(text)])
                break
            except TimeoutError:
                continue


async def test_a_result_is_asked_for_stored_and_found(talk: Converse) -> None:
    """Whatever the order of the arguments' fields; the value comes back as it was; headers and receipt say what happened."""
    async with talk(tool_caches=EXACT) as t:
        assert await look(t, **LIMA) == {"hit": False, "reason": "miss"}
        value = {"temp": 21.5, "text": "señal ✓", "deep": [None, True, {"a": 1}]}
        assert await put(t, **LIMA, value=value) == {"stored": True}
        turned = {"tool": "get_weather", "arguments": {"unit": "C", "city": "Lima"}}
        reply = await call(t, "lookup", **turned)
        assert (reply.body["hit"], reply.body["value"]) == (True, value)
        assert reply.header("cache") == "hit"
        assert reply.header("cache-id") == reply.body["id"]
        assert t.upstream.requests == t.spare.requests == []
        receipts = [await t.receipt() for _ in range(3)]
        assert [r.cache for r in receipts] == ["miss", "bypass", "hit"]
        assert [r.operation for r in receipts] == ["tool_lookup", "tool_store", "tool_lookup"]
        assert {r.route for r in receipts} == {"tool:weather"}
        page = (await t.http.get("/metrics")).text
        assert 'tidegate_cache_lookups_total{result="hit",route="tool:weather",tier="exact"} 1.0' in page
        assert 'tidegate_cache_entries{store="tool:weather.exact"} 1.0' in page


@pytest.mark.parametrize(
    "other",
    [
        {"tool": "get_weather", "arguments": {"city": "lima", "unit": "C"}},
        {"tool": "get_weather", "arguments": {"city": "Lima"}},
        {"tool": "get_weather", "arguments": {"city": "Lima", "unit": "C", "extra": None}},
        {"tool": "weather", "arguments": LIMA["arguments"]},
        {**LIMA, "context": {"version": 2}},
        {"tool": "get_weather"},
    ],
)
async def test_any_other_question_is_another(talk: Converse, other: dict[str, Any]) -> None:
    """Tool, every argument, and the context are in the key."""
    async with talk(tool_caches=EXACT) as t:
        await put(t, **LIMA, value=1)
        assert (await look(t, **other))["hit"] is False
        assert (await look(t, **LIMA))["hit"] is True


async def test_namespaces_users_and_tenants_share_nothing(talk: Converse, tmp_path: Path) -> None:
    """The same question in another namespace, by another user, or with another tenant's key finds nothing, also where the
    whole tenant shares."""
    keys, entries = {}, []
    for name, tenant in (("ann", "acme"), ("bob", "acme"), ("eve", "other")):
        keys[name], id = new_key()
        entries.append(KeyEntry(id=id, hash=hash_of(keys[name]), tenant=tenant))
    write_key_file(tmp_path / "keys.yaml", KeyFile(keys=entries))
    sections = {
        "tool_caches": {**EXACT, "common": {"partition": "tenant"}},
        "access": {"keys": "keys.yaml"},
    }
    async with talk(**sections) as t:
        assert (await call(t, "lookup", **LIMA)).status == 401
        await put(t, "weather", key=keys["ann"], **LIMA, value="ann's")
        await put(t, "common", key=keys["ann"], **LIMA, value="acme's")
        assert (await look(t, "weather", key=keys["ann"], **LIMA))["value"] == "ann's"
        for key, user in ((keys["ann"], "someone else"), (keys["bob"], ""), (keys["eve"], "")):
            assert (await look(t, "weather", key=key, user=user, **LIMA))["hit"] is False
        assert (await look(t, "rates", key=keys["ann"], **LIMA))["hit"] is False
        assert (await look(t, "common", key=keys["bob"], **LIMA))["value"] == "acme's"
        assert (await look(t, "common", key=keys["eve"], **LIMA))["hit"] is False


async def test_a_like_query_finds_the_retrieval(talk: Converse, minilm_dir: Path) -> None:
    """In other words, with how near it was; never with another context, and never past a veto."""
    async with talk(tool_caches=SEMANTIC) as t:
        await warm(t, QUERY, LIKE_IT, "What is the default port of MySQL?")
        assert await put(t, "docs", query=QUERY, context={"k": 3}, value=["doc-7", "doc-9"]) == {"stored": True}
        reply = await call(t, "lookup", "docs", query=LIKE_IT, context={"k": 3})
        assert (reply.body["hit"], reply.body["value"]) == (True, ["doc-7", "doc-9"])
        assert reply.header("cache") == "semantic"
        assert float(reply.header("cache-similarity") or 0) == pytest.approx(reply.body["similarity"], abs=1e-4)
        assert (await look(t, "docs", query=LIKE_IT, context={"k": 5}))["reason"] == "miss"
        assert (await look(t, "docs", query="What is the default port of MySQL?", context={"k": 3}))["hit"] is False
        assert (await look(t, "docs", query="what is it today"))["reason"] in ("fleeting", "pointing", "short")


async def test_answers_and_values_are_never_mixed(talk: Converse) -> None:
    """A purge of one leaves the other; an answer of a route is not found as a value."""
    sections = {"tool_caches": EXACT, "routes": {"default": {"cache": {"exact": {}}}}}
    async with talk(**sections) as t:
        t.upstream.script("m", ["an answer"])
        await t.ask("hi")
        await put(t, **LIMA, value="a value")
        purge = "/admin/v1/cache/purge"
        told = (await t.send({"dry_run": False, "namespace": "weather"}, purge)).body
        assert told == {"purged": 1, "stores": {"tool:weather.exact": {"purged": 1, "shared": False}}}
        assert (await look(t, **LIMA))["hit"] is False
        assert (await t.ask("hi")).header("cache") == "hit"
        assert (await t.send({"dry_run": False, "namespace": "nobody"}, purge)).error["code"] == "namespace_not_found"
        assert (await t.send({"dry_run": True, "namespace": "a", "route": "b"}, purge)).status == 400


async def test_values_are_forgotten_by_tag_id_and_time(talk: Converse) -> None:
    """Tags of the namespace, of the store's body and of its header; the id a lookup told; `max_age`."""
    async with talk(tool_caches=EXACT) as t:
        for number in range(3):
            await put(t, tool="t", arguments=number, value=number, tags=[f"n{number}"])
        dry = (await t.send({"dry_run": True, "tag": "tools"}, "/admin/v1/cache/purge")).body
        assert dry["would"] == 3
        await t.send({"dry_run": False, "tag": "n1"}, "/admin/v1/cache/purge")
        assert [(await look(t, tool="t", arguments=number))["hit"] for number in range(3)] == [True, False, True]
        id = (await look(t, tool="t", arguments=0))["id"]
        assert (await t.http.delete(f"/admin/v1/cache/{id}")).status_code == 200
        assert (await look(t, tool="t", arguments=0))["hit"] is False
        assert (await look(t, tool="t", arguments=2, max_age=0))["reason"] == "max_age"


async def test_what_is_too_large_or_holds_a_credential_is_not_stored(talk: Converse) -> None:
    """It says why; the application goes on with the value it has."""
    caches = {"weather": {"max_value": "1KB"}, "open": {"refuse_secrets": False}}
    secret = {"token": "sk-proj-abcdefghijklmnopqrstuvwx0123456789ABCDEFGHIJ"}
    async with talk(tool_caches=caches) as t:
        assert await put(t, **LIMA, value="x" * 2000) == {"stored": False, "reason": "too_large"}
        assert await put(t, **LIMA, value=secret) == {"stored": False, "reason": "secrets"}
        assert (await look(t, **LIMA))["hit"] is False
        assert await put(t, "open", **LIMA, value=secret) == {"stored": True}
        assert (await t.receipt()).cache_reason == "not_stored:too_large"


@pytest.mark.parametrize("how", ["killed", "frozen"])
async def test_a_dead_redis_is_a_miss_and_a_store_that_says_no(
    talk: Converse, own_redis: Callable[..., RedisServer], how: str
) -> None:
    """Within the store's budget, never a failed request, and told in the header; when Redis is back all is well."""
    redis = own_redis()
    async with talk(tool_caches=EXACT, redis=redis.url) as t:
        await put(t, **LIMA, value=1)
        assert (await look(t, **LIMA))["hit"] is True
        (redis.kill if how == "killed" else redis.pause)()
        reply = await call(t, "lookup", **LIMA)
        assert (reply.status, reply.body["hit"]) == (200, False)
        assert reply.body["reason"].startswith("store:")
        assert reply.header("degraded") == "tool_cache"
        assert (await put(t, **LIMA, value=2))["stored"] is False
        (redis.start if how == "killed" else redis.resume)()
        while not (await put(t, **LIMA, value=3)).get("stored"):
            pass
        assert (await look(t, **LIMA))["value"] == 3


@pytest.mark.parametrize(
    ("verb", "body", "param"),
    [
        ("lookup", {"arguments": {}}, "tool"),
        ("lookup", {"tool": "t", "query": "q"}, "query"),
        ("lookup", {"tool": "t", "max_age": -1}, "max_age"),
        ("lookup", {"tool": "t" * 300}, "tool"),
        ("lookup", {"tool": 3}, None),
        ("lookup", {"tool": "t", "argument": {}}, None),
        ("lookup", b"not json", None),
        ("lookup", b'{"tool": "\xff"}', None),
        ("store", {"tool": "t"}, None),
        ("store", {"tool": "t", "value": 1, "ttl": 0}, "ttl"),
        ("store", {"tool": "t", "value": 1, "tags": ["x" * 200]}, "tags"),
        ("store", b'{"tool": "t", "value": "\xff"}', None),
        ("store", b'{"tool": "t", "value": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", None),
    ],
)
async def test_bad_bodies_are_told_by_field(talk: Converse, verb: str, body: Any, param: str | None) -> None:
    """400 in OpenAI's shape; nothing is stored."""
    async with talk(tool_caches=EXACT) as t:
        reply = await t.send(body, f"/v1/cache/weather/{verb}")
        assert reply.status == 400
        assert reply.error["param"] == param
        assert (await t.http.get("/metrics")).text.count('tidegate_cache_entries{store="tool:weather.exact"} 0.0') == 1


async def test_what_a_value_belongs_to_is_bounded(talk: Converse) -> None:
    """Arguments are hashed while others wait; a large value is another matter."""
    async with talk(tool_caches={"weather": {"max_value": "1MiB"}}) as t:
        reply = await call(t, "lookup", tool="t", arguments="x" * 70_000)
        assert (reply.status, reply.error["param"]) == (413, "arguments")
        assert (await put(t, tool="t", arguments=1, value="x" * 500_000))["stored"]


async def test_only_configured_namespaces_are_there(talk: Converse) -> None:
    """Others are an unknown path; another method is not allowed; a semantic one does not take arguments."""
    async with talk(tool_caches=EXACT) as t:
        assert (await call(t, "lookup", "nobody", **LIMA)).status == 404
        assert (await t.http.get("/v1/cache/weather/lookup")).status_code == 405
    async with talk() as t:
        assert (await call(t, "lookup", **LIMA)).status == 404


def checked(tmp_path: Path, **tool_caches: Any) -> dict[str, Any]:
    base = {
        "version": 1,
        "providers": {"up": {"type": "openai-compatible", "base_url": "http://127.0.0.1:9/v1"}},
        "models": {"m": {"targets": [{"provider": "up", "model": "m"}]}},
        "tool_caches": tool_caches,
    }
    return report_of(configuration.of_value(base, tmp_path))


def test_the_check_says_what_each_namespace_does(tmp_path: Path) -> None:
    """Where values lie, who shares them, and that a semantic one serves on the operator's word."""
    report = checked(tmp_path, weather={}, docs={"kind": "semantic", "partition": "route"})
    assert report["tool_caches"]["weather"] == [
        "by tool and arguments; 3600 s in each process's memory, shared within one user; values up to 262144 bytes; what "
        "holds a credential is not stored"
    ]
    assert "on your word alone" in report["tool_caches"]["docs"][0]
    assert any("tool_caches.docs.partition: route" in line for line in report["warnings"])
    assert "tool cache weather" in text_of(report)


@pytest.mark.parametrize(
    ("name", "config", "said"),
    [
        ("Weather", {}, "tool_caches.Weather: a name has"),
        ("a/b", {}, "tool_caches.a/b"),
        ("w", {"ttl": "400d"}, "tool_caches.w.ttl"),
        ("w", {"max_value": "8MiB"}, "tool_caches.w.max_value"),
        ("w", {"threshold": 2.0}, "tool_caches.w.threshold"),
        ("w", {"kind": "near"}, "tool_caches.w.kind"),
        ("w", {"kind": "semantic", "max_entries": 100_000}, "tool_caches.w.max_entries"),
        ("w", {"max_bytes_per_tenant": "1KiB"}, "tool_caches.w.max_bytes_per_tenant"),
        ("w", {"tags": [""]}, "tool_caches.w.tags"),
        ("w", {"sise": 1}, "tool_caches.w.sise"),
    ],
)
def test_what_is_wrong_is_said_with_its_path(tmp_path: Path, name: str, config: dict[str, Any], said: str) -> None:
    """Every slip before anything starts."""
    with pytest.raises(ConfigError) as caught:
        checked(tmp_path, **{name: config})
    assert said in "\n".join(map(str, caught.value.problems))
