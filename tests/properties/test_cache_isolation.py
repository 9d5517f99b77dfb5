"""Nobody reads another's answers: in every store, at every threshold."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from qdrant_client import AsyncQdrantClient

from cache.backends.qdrant_server import QdrantServer
from cache.backends.redis_link import RedisLink
from cache.backends.redis_store import RedisStore
from cache.build import Caches, build
from cache.config import CacheConfig, ExactConfig, SemanticConfig
from cache.eligible import Limits
from cache.evidence import Evidence
from cache.key import Keyer
from cache.semantic import SemanticCache
from cache.shadow import SHADOW, Shadow
from cache.stores import Near
from cache.tap import CacheTap, Shelf
from cache.writer import Writer
from gateway.core.breaker import Breaker
from gateway.core.clock import ManualClock, SystemClock
from gateway.core.exchange import Exchange
from tests.fixtures.cache_world import PLAN, SECRET, TrigramEmbed, ask, chat, exchange, look, play, said

CONFIG = CacheConfig(exact=ExactConfig(), semantic=SemanticConfig(threshold=0.0, evidence="assume", verify_sample=0.0))
"""A threshold of zero: everything is near enough, so only the partition keeps askers apart."""

QUESTION = "What is the capital of Peru?"

USERS = st.sampled_from(["ann", "bob", "Ann", "", "ann ", "user:ann"])
KEYS = st.sampled_from(["key-1", "key-2", "anonymous"])
TENANTS = st.sampled_from(["acme", "globex"])
ASKERS = st.tuples(TENANTS, KEYS, USERS)


def asked(asker: tuple[str, str, str], text: str = QUESTION, **body: Any) -> Exchange:
    tenant, key, user = asker
    return exchange(chat(text, **body), tenant=tenant, key=key, user=user)


def real(asker: tuple[str, str, str]) -> tuple[str, str, str]:
    """With open access all are of the default tenant."""
    tenant, key, user = asker
    return ("default" if key == "anonymous" else tenant, key, user)


async def made(kind: str, folder: Path, redis_url: str) -> Caches:
    embed, clock = TrigramEmbed(), ManualClock()
    match kind:
        case "disk":
            caches = build({"default": CONFIG}, secret=SECRET, clock=clock, qdrant=str(folder), embed=embed)
        case "redis":
            caches = build({"default": CONFIG}, secret=SECRET, clock=clock, redis=redis_url, embed=embed)
        case _:
            caches = build({"default": CONFIG}, secret=SECRET, clock=clock, embed=embed)
    await caches.start()
    await caches.purge()
    return caches


@pytest.mark.parametrize("kind", ["memory", "disk", "redis"])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ASKERS, min_size=2, max_size=6))
def test_an_answer_comes_back_to_its_own_asker_only(
    kind: str, tmp_path: Path, redis_url: str, askers: list[tuple[str, str, str]]
) -> None:
    """Many askers with the same words, threshold zero: each gets his own answer back, and never another's."""

    async def story() -> None:
        caches = await made(kind, tmp_path / "vectors", redis_url)
        own: dict[tuple[str, str, str], str] = {}
        for number, asker in enumerate(askers):
            found = await ask(caches, asked(asker), f"answer {number}")
            said = own.setdefault(real(asker), f"answer {number}")
            assert (found.choices[0].text if found is not None else f"answer {number}") == said
        for asker in askers:
            near = await ask(caches, asked(asker, "hello, what is the capital of peru"), "unused")
            assert near is not None
            assert near.choices[0].text == own[real(asker)]
        await caches.close()

    asyncio.run(story())


CHANGES: dict[str, Exchange] = {
    "user": exchange(QUESTION, user="bob"),
    "key": exchange(QUESTION, key="key-2"),
    "tenant": exchange(QUESTION, tenant="globex"),
    "route revision": exchange(QUESTION, revision="r2"),
    "beta header": exchange(QUESTION, headers={"openai-beta": "x"}),
    "plan": exchange(QUESTION, plan=PLAN.__class__(models=(PLAN.models[0].__class__(alias="other", targets=()),))),
    "temperature": exchange(chat(QUESTION, temperature=0.1)),
    "stop": exchange(chat(QUESTION, stop=["x"])),
    "unknown field": exchange(chat(QUESTION, brand_new=1)),
    "model asked for": exchange({**chat(QUESTION), "model": "other"}),
    "system prompt": exchange(
        {"model": "fast", "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": QUESTION}]}
    ),
    "field of the message": exchange({"model": "fast", "messages": [{"role": "user", "content": QUESTION, "x": 1}]}),
}


@pytest.mark.parametrize("kind", ["memory", "disk", "redis"])
async def test_one_changed_field_is_a_miss(kind: str, tmp_path: Path, redis_url: str) -> None:
    """Change any one thing but the question's wording, and neither cache answers, though everything is near enough."""
    caches = await made(kind, tmp_path / "vectors", redis_url)
    await ask(caches, exchange(QUESTION), "Lima.")
    assert await look(caches.routes["default"], exchange(QUESTION)) is not None
    for name, changed in CHANGES.items():
        changed.answer = None
        assert await look(caches.routes["default"], changed) is None, name
    await caches.close()


class Liar:
    """A store that ignores the partition it is asked for."""

    def __init__(self) -> None:
        self.held: list[Near] = []

    async def search(self, partition: str, vector: Any, limit: int, floor: float) -> list[Near]:
        return self.held

    async def put(self, partition: str, id: str, vector: Any, payload: bytes, ttl: float, labels: Any = None) -> None:
        self.held.append(Near(id, 1.0, payload))


@pytest.mark.parametrize("assumed", [True, False], ids=["serving", "shadow"])
async def test_the_partition_is_compared_again_whatever_the_store_says(assumed: bool) -> None:
    """Even a store that returns another tenant's entries at full score cannot make them served, nor compared."""
    liar, clock, writer = Liar(), ManualClock(), Writer()
    keyer, limits = Keyer(SECRET, "user"), Limits(scope="user")
    embed, breaker = TrigramEmbed(), Breaker(clock)
    shadow = Shadow(Evidence(threshold=0.0, rate=0.01, assumed=assumed), embed, liar)  # type: ignore[arg-type]
    cache = SemanticCache(
        keyer,
        liar,  # type: ignore[arg-type]
        embed,
        breaker,
        shadow,
        threshold=0.0,
        sample=0.0,
        limits=limits,
        embed_budget=5,
    )
    own, stranger, again = exchange(QUESTION), exchange(QUESTION, tenant="globex"), exchange(QUESTION)
    assert await cache.decide(own) is None
    play(CacheTap(Shelf(None, 0.0, liar, 60.0), writer), own, said("Lima."))  # type: ignore[arg-type]
    await writer.start()
    await writer.close()
    assert len(liar.held) == 1
    assert await cache.decide(stranger) is None
    assert (stranger.cache.result, stranger.cache.reason) == ("miss", "")
    assert stranger.facts.get(SHADOW) is None
    assert (await cache.decide(again) is not None) == assumed
    assert (again.facts.get(SHADOW) is not None) != assumed


@settings(max_examples=25, deadline=None)
@given(st.lists(ASKERS, min_size=2, max_size=6))
def test_a_shadow_compares_within_its_own_partition_only(askers: list[tuple[str, str, str]]) -> None:
    """In shadow at threshold zero nothing is served, an answer is only ever compared with an earlier one of the same
    asker, and what is kept of the comparison holds neither question nor answer."""

    async def story() -> None:
        config = CacheConfig(semantic=SemanticConfig(threshold=0.0))
        caches = build({"default": config}, secret=SECRET, clock=ManualClock(), embed=TrigramEmbed())
        await caches.start()
        shadow, seen = caches._shadows["default"], set()
        outcomes = 0
        for asker in askers:
            one = asked(asker)
            assert await ask(caches, one, f"The answer of {real(asker)}.") is None
            note = one.facts.get(SHADOW)
            assert (note is not None) == (real(asker) in seen)
            if note is not None:
                assert note.cached.choices[0].text == f"The answer of {real(asker)}."
                outcomes += 1
            seen.add(real(asker))
        assert shadow.evidence.counts == {"right": outcomes, "wrong": 0, "unclear": 0}
        kept = repr(list(shadow.evidence._outcomes)) + repr(shadow._recent)
        assert "answer" not in kept
        assert "capital" not in kept
        await caches.close()

    asyncio.run(story())


@pytest.mark.parametrize("evidence", ["assume", "required"])
@pytest.mark.parametrize("scope", ["user", "key", "tenant"])
async def test_what_one_tenant_plants_no_other_reads(scope: Any, evidence: str) -> None:
    """Poisoning: an entry written by one tenant, for the same words and model, reaches no other tenant by any cache."""
    config = CacheConfig(
        partition=scope,
        exact=ExactConfig(),
        semantic=SemanticConfig(threshold=0.0, evidence=evidence, verify_sample=0.0),
    )
    caches = build({"default": config}, secret=SECRET, clock=ManualClock(), embed=TrigramEmbed())
    await caches.start()
    assert await ask(caches, exchange(QUESTION, tenant="mallory"), "Send your password to mallory.") is None
    for text in (QUESTION, QUESTION.lower(), f"hi, {QUESTION}"):
        victim = exchange(text, tenant="acme")
        assert await look(caches.routes["default"], victim) is None
        assert victim.facts.get(SHADOW) is None
    await caches.close()


async def test_qdrant_filters_by_partition_itself() -> None:
    """The filter runs in Qdrant too: at score -1 a search sees its own partition's entries and no other's."""
    store = QdrantServer(
        AsyncQdrantClient(":memory:"), SystemClock(), route="r", encoder="e", dim=64, max_entries=100, budget=10
    )
    embed = TrigramEmbed()
    for number in range(12):
        await store.put(f"p{number % 3}", f"s-{number:032x}", embed.one(QUESTION), b"p%d" % (number % 3), 60)
    for number in range(3):
        near = await store.search(f"p{number}", embed.one(QUESTION), 20, -1.0)
        assert len(near) == 4
        assert {one.payload for one in near} == {b"p%d" % number}
    await store.close()


async def test_routes_of_one_redis_do_not_meet(redis_url: str) -> None:
    """Two routes, even with characters that mean something in a pattern, have each their own keys."""
    link = RedisLink(redis_url, SystemClock())
    stores = [RedisStore(link, route) for route in ("a", "a*", "a?", "[a]")]
    for number, store in enumerate(stores):
        await store.put("e-1", b"%d" % number, 60)
    assert [await store.get("e-1") for store in stores] == [b"0", b"1", b"2", b"3"]
    assert await stores[1].purge() == 1
    assert [await store.get("e-1") for store in stores] == [b"0", None, b"2", b"3"]
    for store in stores:
        await store.purge()
    await link.close()


async def test_another_secret_shares_nothing(redis_url: str) -> None:
    """Two installations on one Redis do not read each other's entries."""
    found = []
    for secret in (SECRET, b"another installation's secret...", SECRET):
        routes = {"of-secrets": CacheConfig(exact=ExactConfig())}
        caches = build(routes, secret=secret, clock=ManualClock(), redis=redis_url)
        await caches.start()
        found.append(await ask(caches, exchange(QUESTION, route="of-secrets"), "Lima."))
        await caches.close()
    assert [answer is not None for answer in found] == [False, False, True]


async def test_no_planted_secret_is_in_a_store(redis_server: Any) -> None:
    """Redis's keys tell nothing of user, tenant, question or secret."""
    caches = build(
        {"default": CONFIG}, secret=SECRET, clock=ManualClock(), redis=redis_server.url, embed=TrigramEmbed()
    )
    await caches.start()
    await ask(caches, exchange("What is the capital of Planted?", user="planted-user", tenant="planted-tenant"), "x")
    keys = redis_server.command("KEYS", "tidegate:*")
    assert b"tidegate:exact:" in keys
    assert b"lanted" not in keys
    value = redis_server.command("DUMP", keys.split(b"\r\n")[2].decode())
    assert b"planted-user" not in value
    assert b"planted-tenant" not in value
    assert SECRET not in value
    await caches.close()
