"""Values of applications: nobody reads another's, in any store, at any threshold, in any namespace."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from qdrant_client import AsyncQdrantClient

from cache.backends.qdrant_server import QdrantLink
from cache.build import Caches, build
from cache.config import CacheConfig, ExactConfig, SemanticConfig
from cache.store_build import Stores
from cache.tool_config import ToolCacheConfig
from cache.tools import Asked, Found
from gateway.core.clock import ManualClock
from gateway.core.exchange import Exchange
from tests.fixtures.cache_world import SECRET, TrigramEmbed, ask, exchange, look

NAMESPACES = {
    f"{kind}-{scope}": ToolCacheConfig(kind=kind, partition=scope, threshold=0.0)
    for kind in ("exact", "semantic")
    for scope in ("user", "key", "tenant", "route")
}  # type: ignore[arg-type]
"""A threshold of zero: every query is near enough, so only partitions keep them apart."""
QUERY = "What is the capital of Peru?"

ASKERS = st.tuples(
    st.sampled_from(["acme", "globex"]),
    st.sampled_from(["key-1", "key-2"]),
    st.sampled_from(["ann", "bob", "Ann", "", "user:ann"]),
)
ASKED = st.tuples(
    st.sampled_from(sorted(NAMESPACES)),
    ASKERS,
    st.sampled_from(["", "search", "Search"]),
    st.sampled_from([None, 1, "1", {"v": 1}, {"v": 2}]),
)


def owner(namespace: str, asker: tuple[str, str, str]) -> tuple[str, ...]:
    """Who shares with this asker, said anew and not by the code under test."""
    tenant, key, user = asker
    parts = {"user": (tenant, key, user), "key": (tenant, key), "tenant": (tenant,), "route": ()}
    return parts[NAMESPACES[namespace].partition]


def who(asker: tuple[str, str, str]) -> Exchange:
    tenant, key, user = asker
    return exchange("unused", tenant=tenant, key=key, user=user)


def question(namespace: str, tool: str, context: Any) -> Asked:
    if NAMESPACES[namespace].kind == "exact":
        return Asked(tool=tool, arguments={"q": QUERY}, context=context)
    return Asked(tool=tool, query=QUERY, context=context)


async def made(kind: str, folder: Path, redis_url: str) -> Caches:
    where: dict[str, Any] = {"disk": {"qdrant": str(folder)}, "redis": {"redis": redis_url}}.get(kind, {})
    route = CacheConfig(
        partition="route", exact=ExactConfig(), semantic=SemanticConfig(threshold=0.0, evidence="assume")
    )
    caches = build(
        {"default": route, "exact-user": route},
        secret=SECRET,
        clock=ManualClock(),
        embed=TrigramEmbed(),
        tools=NAMESPACES,
        **where,
    )
    await caches.start()
    await caches.purge()
    return caches


@pytest.mark.parametrize("kind", ["memory", "disk", "redis"])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ASKED, min_size=2, max_size=8))
def test_a_value_comes_back_to_its_own_partition_only(
    kind: str, tmp_path: Path, redis_url: str, story: list[tuple[str, tuple[str, str, str], str, Any]]
) -> None:
    """Many askers with one query: each finds what his own partition of his own namespace stored last, or nothing."""

    async def tell() -> None:
        caches = await made(kind, tmp_path / "vectors", redis_url)
        kept: dict[Any, bytes] = {}
        for number, (namespace, asker, tool, context) in enumerate(story):
            cache, asked = caches.tools[namespace], question(namespace, tool, context)
            place = (namespace, owner(namespace, asker), tool, repr(context))
            found = await cache.look(who(asker), asked, None)
            assert (found.value if isinstance(found, Found) else None) == kept.get(place)
            value = b"%d" % number
            assert await cache.keep(who(asker), asked, value, 60.0, ()) is None
            kept[place] = value
        await caches.close()

    asyncio.run(tell())


@pytest.mark.parametrize("kind", ["memory", "disk", "redis"])
async def test_answers_of_routes_and_values_never_meet(kind: str, tmp_path: Path, redis_url: str) -> None:
    """The same words, everyone sharing, a route of the namespace's very name: an answer is no value and a value no answer."""
    caches = await made(kind, tmp_path / "vectors", redis_url)
    for route in ("default", "exact-user"):
        await ask(caches, exchange(QUERY, route=route), "Lima.")
    for namespace, cache in caches.tools.items():
        assert await cache.look(who(("acme", "key-1", "ann")), question(namespace, "", None), None) == "miss"
    await caches.purge()
    for namespace, cache in caches.tools.items():
        assert await cache.keep(who(("acme", "key-1", "ann")), question(namespace, "", None), b"1", 60.0, ()) is None
    for route in ("default", "exact-user"):
        assert await look(caches.routes[route], exchange(QUERY, route=route)) is None
    await caches.close()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.text(max_size=6), JSON, max_size=4), st.randoms())
def test_the_order_of_arguments_never_matters_and_their_values_always_do(arguments: dict[str, Any], rng: Any) -> None:
    """Shuffled fields find the value; one more field does not."""

    async def tell() -> None:
        caches = build({}, secret=SECRET, clock=ManualClock(), tools={"t": ToolCacheConfig()})
        cache, me = caches.tools["t"], who(("acme", "key-1", "ann"))
        kept = await cache.keep(me, Asked(tool="t", arguments=arguments), b"1", 60.0, ())
        if kept == "no_key":  # half a surrogate pair
            return
        items = list(arguments.items())
        rng.shuffle(items)
        assert isinstance(await cache.look(me, Asked(tool="t", arguments=dict(items)), None), Found)
        more = {**arguments, "one more": 1}
        assert await cache.look(me, Asked(tool="t", arguments=more), None) == "miss"

    asyncio.run(tell())


async def test_in_qdrant_each_namespace_has_a_place_of_its_own() -> None:
    """A namespace and a route of one name, and two namespaces, share no collection: the client's local mode speaks the
    server's API."""
    embed, stores = TrigramEmbed(), Stores(ManualClock(), None, "http://127.0.0.1:9")
    link = QdrantLink("http://127.0.0.1:9")
    link.client = AsyncQdrantClient(":memory:")
    stores._link = link
    config = SemanticConfig()
    places = {"docs": "docs", "tool:docs": "tool\0docs", "tool:more": "tool\0more"}
    made = {owner: stores.vectors(owner, config, embed, place) for owner, place in places.items()}
    vector = embed.one(QUERY)
    await made["tool:docs"].put("p", f"s-{1:032x}", vector, b"value", 60.0)
    found = {owner: len(await store.search("p", vector, 3, 0.0)) for owner, store in made.items()}
    assert found == {"docs": 0, "tool:docs": 1, "tool:more": 0}
    await stores.close()
