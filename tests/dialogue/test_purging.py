"""Making the caches forget: what, for whom, and who may."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.dialogue.test_caches import STORES, Headers, caching, outcome, people, say
from tests.fixtures.gateway import Converse, Talk
from tests.fixtures.redis import RedisServer

PURGE = "/admin/v1/cache/purge"


def alone_in(store: str, request: pytest.FixtureRequest) -> dict[str, Any]:
    """A Redis of this test's own, since what is purged is counted."""
    return {"redis": request.getfixturevalue("own_redis")().url} if store == "redis" else {}


async def purge(t: Talk, headers: Headers | None = None, **asked: Any) -> httpx.Response:
    return await t.http.post(PURGE, json=asked, headers=headers)


@STORES
async def test_tagged_entries_are_forgotten_together(
    talk: Converse, request: pytest.FixtureRequest, store: str
) -> None:
    """A purge by tag takes the entries stored with it and no others; a dry run says how many and takes none."""
    async with talk(**caching(tags=["faq"]), **alone_in(store, request)) as t:
        t.upstream.script("m", ["yes"])
        for text, tags in (("one", "v1"), ("two", "v1, draft"), ("three", "v2")):
            await say(t, text, by={"x-tidegate-tags": tags})
        found = await purge(t, tag="v1", dry_run=True)
        shared = store == "redis"
        assert found.json() == {"would": 2, "stores": {"default.exact": {"would": 2, "shared": shared}}}
        assert (await purge(t, tag="faq", dry_run=True)).json()["would"] == 3
        assert (await purge(t, tag="v1", tenant="default", route="default", dry_run=False)).json()["purged"] == 2
        calls = len(t.upstream.requests)
        assert outcome(await say(t, "three")) == "hit"
        assert [outcome(await say(t, text)) for text in ("one", "two")] == ["miss", "miss"]
        assert len(t.upstream.requests) == calls + 2
        assert (await purge(t, older_than="1h", dry_run=False)).json()["purged"] == 0
        assert (await purge(t, dry_run=False)).json()["purged"] == 3
        assert outcome(await say(t, "three")) == "miss"


@STORES
async def test_one_tenants_purge_leaves_the_others(
    talk: Converse, request: pytest.FixtureRequest, tmp_path: Path, store: str
) -> None:
    """Entries are counted to the tenant they were stored for; only an admin key may purge or evict."""
    keys = people(tmp_path, ann={"tenant": "acme"}, bob={"tenant": "globex"}, root={"tenant": "house", "admin": True})
    async with talk(**caching(), **alone_in(store, request), access={"keys": "keys.yaml"}) as t:
        t.upstream.script("m", ["yes"])
        for name in ("ann", "bob"):
            await say(t, "hi", by=keys[name])
        for headers in ({}, keys["ann"]):
            assert (await purge(t, headers, dry_run=False)).status_code == 401
            assert (await t.http.delete("/admin/v1/cache/e-" + "0" * 32, headers=headers)).status_code == 401
        assert (await purge(t, keys["root"], tenant="acme", dry_run=False)).json()["purged"] == 1
        assert outcome(await say(t, "hi", by=keys["bob"])) == "hit"
        assert outcome(await say(t, "hi", by=keys["ann"])) == "miss"


@STORES
async def test_an_entry_is_forgotten_by_the_id_that_its_reader_saw(
    talk: Converse, request: pytest.FixtureRequest, store: str
) -> None:
    """`x-tidegate-cache-id` of a hit names the entry; deleting it makes the next request a miss, and once is enough."""
    async with talk(**caching(), **alone_in(store, request)) as t:
        t.upstream.script("m", ["yes"])
        await say(t, "hi")
        id = (await say(t, "hi")).header("cache-id")
        gone = await t.http.delete(f"/admin/v1/cache/{id}")
        assert (gone.status_code, gone.json()) == (200, {"evicted": id})
        assert outcome(await say(t, "hi")) == "miss"
        assert (await t.http.delete("/admin/v1/cache/e-nonsense")).status_code == 404


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "dry_run"),
        ({"dry_run": True, "tags": "v1"}, "tags"),
        ({"dry_run": True, "older_than": "soon"}, "duration"),
        ({"dry_run": True, "older_than": -1}, "older_than"),
        ({"dry_run": "no"}, "dry_run"),
        ([], "object"),
    ],
)
async def test_a_purge_that_is_not_understood_purges_nothing(talk: Converse, body: Any, said: str) -> None:
    """A misspelt selector is an error and not a purge of everything, and `dry_run` must be said."""
    async with talk(**caching()) as t:
        t.upstream.script("m", ["yes"])
        await say(t, "hi")
        reply = await t.http.post(PURGE, json=body)
        assert reply.status_code == 400
        assert said in reply.json()["error"]["message"]
        assert outcome(await say(t, "hi")) == "hit"


async def test_what_a_strange_page_could_send_purges_nothing(talk: Converse) -> None:
    """A body that a page of another origin may send unasked (plain text) is refused, and so are an unknown route and a
    body beyond all measure."""
    async with talk(**caching()) as t:
        plain = await t.http.post(PURGE, content=json.dumps({"dry_run": False}), headers={"content-type": "text/plain"})
        assert plain.status_code == 400
        assert (await purge(t, route="nowhere", dry_run=False)).json()["error"]["code"] == "route_not_found"
        assert (await purge(t, tag="x" * 100_000, dry_run=False)).status_code in (400, 413)


async def test_a_store_that_is_down_is_told(talk: Converse, own_redis: Any) -> None:
    """Nobody believes in a purge that did not happen: 503, and which store could not be asked."""
    server: RedisServer = own_redis()
    async with talk(**caching(), redis=server.url) as t:
        t.upstream.script("m", ["yes"])
        await say(t, "hi")
        server.kill()
        reply = await purge(t, dry_run=False)
        assert reply.status_code == 503
        assert reply.json()["purged"] == 0
        assert reply.json()["stores"]["default.exact"]["failed"]
        assert (await t.http.delete("/admin/v1/cache/e-" + "0" * 32)).status_code == 503
        assert (await say(t, "hi")).status == 200
        server.start()
