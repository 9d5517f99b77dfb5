"""A question that was answered before is answered again without a model: for whom, for whom never, and at what price."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cache.text import normalise
from gateway.admission.config import KeyEntry, KeyFile
from gateway.admission.keyring import hash_of, new_key, read_key_file, write_key_file
from gateway.faults.play import Play
from gateway.faults.steps import CLOSE, Finish, Item, Tool
from tests.fixtures.gateway import Converse, Reply, Talk
from tests.fixtures.raw_client import CHAT, MESSAGES, Left
from tests.fixtures.redis import RedisServer

DIALECTS = pytest.mark.parametrize("path", [CHAT, MESSAGES])
STREAMS = pytest.mark.parametrize("stream", [False, True])
STORES = pytest.mark.parametrize("store", ["memory", "redis"])
Headers = dict[str, str]
PRICE = {"input": 1000.0, "output": 1000.0}
QUESTION = "What is the default port of Postgres?"
LIKE_IT = "hi, what's the default port of postgres, please"
UNLIKE_IT = "What is the default port of MySQL?"


def caching(*, threshold: float | None = None, **cache: Any) -> dict[str, Any]:
    """The sections of a gateway whose default route caches, exactly or from a similarity on; model `m` has a price."""
    kinds = (
        {"exact": {"ttl": "1h"}}
        if threshold is None
        else {"semantic": {"ttl": "1h", "threshold": threshold, "evidence": "assume"}}
    )
    models = {"m": {"targets": [{"provider": "up", "model": "m"}], "price": PRICE, "retry": {"attempts": 1}}}
    return {"models": models, "routes": {"default": {"cache": {**kinds, **cache}}}}


def stored_in(store: str, request: pytest.FixtureRequest) -> dict[str, Any]:
    return {"redis": request.getfixturevalue("redis_url")} if store == "redis" else {}


async def say(t: Talk, text: str, path: str = CHAT, *, stream: bool = False, by: Headers | None = None) -> Reply:
    """One question, and everything that is to be stored has been."""
    body = {"model": "m", "messages": [{"role": "user", "content": text}], "max_tokens": 99, "stream": stream}
    reply = await t.send(body, path, **(by or {}))
    await settled(t)
    return reply


async def settled(t: Talk) -> None:
    async with asyncio.timeout(10):
        await t.gateway.caches.writer.drained()


async def warm(t: Talk, *questions: str) -> None:
    """Embeds without the gateway's own deadline for it: a busy machine is not what these tests are about."""
    embed = t.gateway.encoders.local
    assert embed is not None
    for question in questions:
        async with asyncio.timeout(30):
            while True:
                try:
                    await embed.embed([normalise(question)])
                    break
                except TimeoutError:
                    continue


def outcome(reply: Reply) -> str | None:
    assert reply.status == 200, reply.raw
    return reply.header("cache")


def people(folder: Path, **entries: dict[str, Any]) -> dict[str, Headers]:
    """A key file with one key for each name; the headers with which each of them asks."""
    made = {name: new_key() for name in entries}
    keys = [KeyEntry(id=id, hash=hash_of(key), name=name, **entries[name]) for name, (key, id) in made.items()]
    write_key_file(folder / "keys.yaml", KeyFile(keys=keys))
    return {name: {"authorization": f"Bearer {key}"} for name, (key, _) in made.items()}


def named(key: Headers, user: str) -> Headers:
    return {**key, "x-tidegate-user": user}


# --- the same question again


@DIALECTS
@STORES
@pytest.mark.parametrize("first", [False, True], ids=["stored whole", "stored streamed"])
@pytest.mark.parametrize("second", [False, True], ids=["asked whole", "asked streamed"])
async def test_the_same_question_is_answered_from_the_cache(
    talk: Converse, request: pytest.FixtureRequest, path: str, store: str, first: bool, second: bool
) -> None:
    """Whichever way an answer was stored, it is replayed the way it is asked for, and no upstream hears of it."""
    async with talk(**caching(), **stored_in(store, request)) as t, Left(t):
        t.upstream.script("m", ["54", "32"])
        fresh = await say(t, QUESTION, path, stream=first)
        assert (outcome(fresh), fresh.text, fresh.header("cache-id")) == ("miss", "5432", None)
        again = await say(t, QUESTION, path, stream=second)
        assert (outcome(again), again.text, again.whole) == ("hit", "5432", True)
        assert bool(again.events) is second
        cache_id = again.header("cache-id")
        assert cache_id is not None
        assert cache_id.startswith("e-")
        assert again.header("cache-similarity") is None
        assert again.header("provider") is None
        assert len(t.upstream.requests) == 1


async def test_a_replay_is_a_good_answer_of_its_own(talk: Converse) -> None:
    """A replayed completion has the alias, the finish reason and the usage of the stored one; its stream ends in `[DONE]`."""
    async with talk(**caching()) as t:
        t.upstream.script("m", ["5432"])
        fresh = await say(t, QUESTION)
        again = await say(t, QUESTION)
        assert {**again.body, "created": 0} == {**fresh.body, "created": 0}
        stream = await t.ask(QUESTION, stream=True, stream_options={"include_usage": True}, max_tokens=99)
        assert outcome(stream) == "hit"
        assert (stream.finish, stream.done) == ("stop", True)
        assert stream.events[-1]["usage"] == fresh.body["usage"]
        assert {event["model"] for event in stream.events} == {"m"}


async def test_a_cached_answer_bills_nothing(talk: Converse) -> None:
    """A hit has no cost and no usage of its own, and says what it saved; token limits are not charged for it."""
    sections = caching()
    sections["routes"]["default"]["limits"] = {"tpm": 30}  # one answer's 18 tokens fit, two do not
    async with talk(**sections) as t:
        t.upstream.script("m", ["5432"])
        await say(t, QUESTION)
        for _ in range(3):
            assert outcome(await say(t, QUESTION)) == "hit"
        first, *others = [await t.receipt() for _ in range(4)]
        assert first.cost_usd == pytest.approx(0.018)
        for receipt in others:
            assert (receipt.answer, receipt.cache, receipt.cost_usd, receipt.usage) == ("cached", "hit", None, None)
            assert receipt.saved_usd == pytest.approx(0.018)
            assert receipt.attempts == ()
            assert receipt.cache_age is not None


async def test_every_field_that_matters_is_part_of_the_question(talk: Converse) -> None:
    """Another model, temperature, system prompt or unknown field is another question; the order of fields is not."""
    async with talk(**caching()) as t:
        t.upstream.script("m", ["x"])
        t.spare.script("m", ["y"])
        base = {"model": "m", "messages": [{"role": "user", "content": "hi there"}]}
        await t.send(base)
        await settled(t)
        others: list[dict[str, Any]] = [
            {**base, "model": "spare"},
            {**base, "temperature": 0.3},
            {**base, "vendor_option": {"deep": [1]}},
            {**base, "messages": [{"role": "system", "content": "be brief"}, *base["messages"]]},
            {**base, "messages": [{"role": "user", "content": "hi there "}]},
        ]
        for body in others:
            assert outcome(await t.send(body)) == "miss", body
        assert outcome(await t.send(dict(reversed(base.items())))) == "hit"


# --- for whom


async def test_users_never_share_by_default(talk: Converse, tmp_path: Path) -> None:
    """Another user of the same key, another key, another tenant: none of them hits what one user had answered."""
    who = people(tmp_path, ann={"tenant": "acme"}, bob={"tenant": "acme"}, eve={"tenant": "evil"})
    async with talk(**caching(), access={"keys": "keys.yaml"}) as t:
        t.upstream.sequence("m", *(Play([f"answer {number}"]) for number in range(9)))
        askers = [
            named(who["ann"], "u1"),
            named(who["ann"], "u2"),
            who["ann"],
            named(who["bob"], "u1"),
            named(who["eve"], "u1"),
        ]
        fresh = [await say(t, QUESTION, by=asker) for asker in askers]
        assert [outcome(reply) for reply in fresh] == ["miss"] * 5
        again = [await say(t, QUESTION, by=asker) for asker in askers]
        assert [outcome(reply) for reply in again] == ["hit"] * 5
        assert [reply.text for reply in again] == [reply.text for reply in fresh] == [f"answer {n}" for n in range(5)]
        ids = {reply.header("cache-id") for reply in again}
        assert len(ids) == 5


@pytest.mark.parametrize(
    ("partition", "hits"),
    [
        ("user", {"ann u1"}),
        ("key", {"ann u1", "ann u2"}),
        ("tenant", {"ann u1", "ann u2", "bob u1"}),
        ("route", {"ann u1", "ann u2", "bob u1", "eve u1"}),
    ],
)
async def test_a_partition_says_who_shares(talk: Converse, tmp_path: Path, partition: str, hits: set[str]) -> None:
    """What ann's first user had answered is given to whom the operator chose, and to nobody else."""
    who = people(tmp_path, ann={"tenant": "acme"}, bob={"tenant": "acme"}, eve={"tenant": "evil"})
    async with talk(**caching(partition=partition), access={"keys": "keys.yaml"}) as t:
        t.upstream.script("m", ["shared"])
        seen = set()
        await say(t, QUESTION, by=named(who["ann"], "u1"))
        for asker in ("ann u1", "ann u2", "bob u1", "eve u1"):
            name, user = asker.split()
            only = {"x-tidegate-cache-control": "only-if-cached"}
            reply = await say(t, QUESTION, by={**named(who[name], user), **only})
            if reply.status == 200:
                seen.add(asker)
        assert seen == hits


async def test_nobody_can_name_himself_into_anothers_answers(talk: Converse, tmp_path: Path) -> None:
    """A key that may not name users is one user, whatever its headers and its body claim; nor can it leave an answer
    for others to find."""
    who = people(tmp_path, app={}, mallory={"names_users": False})
    async with talk(**caching(), access={"keys": "keys.yaml"}) as t:
        t.upstream.sequence("m", Play(["ann's answer"]), Play(["poison"]), Play(["clean"]))
        await say(t, QUESTION, by=named(who["app"], "ann"))
        seen = []
        for claim in ("ann", read_key_file(tmp_path / "keys.yaml").keys[0].id, "*", ""):
            claims = {**named(who["mallory"], claim), "x-tidegate-session": claim}
            reply = await t.ask(QUESTION, max_tokens=99, user=claim, headers=claims)
            await settled(t)
            seen.append((outcome(reply), reply.text))
        assert seen == [("miss", "poison"), *[("hit", "poison")] * 3]
        mine = await say(t, QUESTION, by=named(who["app"], "ann"))
        assert (outcome(mine), mine.text) == ("hit", "ann's answer")
        other = await say(t, QUESTION, by=named(who["app"], "zoe"))
        assert (outcome(other), other.text) == ("miss", "clean")


# --- what the client may ask of the caches


async def test_no_store_leaves_nothing(talk: Converse) -> None:
    """`no-store` neither reads nor stores."""
    control = {"x-tidegate-cache-control": "no-store"}
    async with talk(**caching()) as t:
        t.upstream.sequence("m", Play(["one"]), Play(["two"]), Play(["three"]))
        assert outcome(await say(t, QUESTION, by=control)) == "bypass"
        assert outcome(await say(t, QUESTION)) == "miss"
        third = await say(t, QUESTION, by=control)
        assert (outcome(third), third.text) == ("bypass", "three")
        kept = await say(t, QUESTION)
        assert (outcome(kept), kept.text) == ("hit", "two")


async def test_no_cache_asks_again_and_stores(talk: Converse) -> None:
    """`no-cache` takes no stored answer, and leaves the fresh one in its place."""
    async with talk(**caching()) as t:
        t.upstream.sequence("m", Play(["old"]), Play(["new"]))
        await say(t, QUESTION)
        fresh = await say(t, QUESTION, by={"x-tidegate-cache-control": "no-cache"})
        assert (outcome(fresh), fresh.text) == ("bypass", "new")
        assert (await say(t, QUESTION)).text == "new"


async def test_max_age_takes_nothing_older(talk: Converse) -> None:
    """`max-age=0` asks the model again and stores what it says; a generous `max-age` is answered from the cache."""
    async with talk(**caching()) as t:
        t.upstream.script("m", ["old"])
        await say(t, QUESTION)
        t.upstream.script("m", ["new"])
        wide = await say(t, QUESTION, by={"x-tidegate-cache-control": "max-age=3600"})
        assert (outcome(wide), wide.text) == ("hit", "old")
        none = await say(t, QUESTION, by={"x-tidegate-cache-control": "max-age=0"})
        assert (outcome(none), none.text) == ("miss", "new")
        assert (await say(t, QUESTION)).text == "new"


@DIALECTS
@STREAMS
async def test_only_if_cached_never_calls_a_model(talk: Converse, path: str, stream: bool) -> None:
    """A miss is a clean 504 that says not to retry; a hit is a hit."""
    control = {"x-tidegate-cache-control": "only-if-cached"}
    async with talk(**caching()) as t:
        t.upstream.script("m", ["5432"])
        missed = await say(t, QUESTION, path, stream=stream, by=control)
        assert (missed.status, missed.headers["x-should-retry"]) == (504, "false")
        assert missed.error["type"] == "invalid_request_error"
        assert t.upstream.requests == []
        await say(t, QUESTION, path)
        found = await say(t, QUESTION, path, stream=stream, by=control)
        assert (outcome(found), found.text) == ("hit", "5432")


async def test_without_a_cache_only_if_cached_still_spends_nothing(talk: Converse) -> None:
    """On a route without caches the promise holds all the same."""
    async with talk() as t:
        reply = await say(t, QUESTION, by={"x-tidegate-cache-control": "only-if-cached"})
        assert (reply.status, reply.error["code"]) == (504, "not_cached")
        assert t.upstream.requests == []


# --- what is never stored


@pytest.mark.parametrize(
    "items",
    [
        pytest.param(["5432", CLOSE], id="cut"),
        pytest.param(["54", Finish("length")], id="truncated"),
        pytest.param(["5432", Finish("content_filter")], id="filtered by the provider"),
        pytest.param([Tool(id="c1", name="look_up", arguments="{}")], id="calls a tool"),
        pytest.param(["let me see", Tool(id="c1", name="look_up", arguments="{}")], id="speaks and calls a tool"),
        pytest.param([Finish("stop")], id="empty"),
    ],
)
@STREAMS
async def test_what_is_not_a_whole_plain_answer_is_not_stored(talk: Converse, items: list[Item], stream: bool) -> None:
    """Cut, truncated, filtered, tool-calling and empty answers are given to who asked, and to nobody after."""
    async with talk(**caching()) as t:
        t.upstream.sequence("m", Play(items), Play(["good"]))
        await say(t, QUESTION, stream=stream)
        again = await say(t, QUESTION)
        assert (outcome(again), again.text) == ("miss", "good")
        assert outcome(await say(t, QUESTION)) == "hit"


@STREAMS
async def test_a_blocked_answer_is_not_stored(talk: Converse, stream: bool) -> None:
    """What an output check stopped is not in the cache; and a blocked request is not answered from it."""
    sections = caching()
    deny = {"use": "phrases", "deny": ["bluebird"], "action": "block", "on_error": "closed", "on": ["input", "output"]}
    sections["guardrails"] = {"phrases": deny}
    sections["routes"]["default"]["guardrails"] = ["phrases"]
    async with talk(**sections) as t:
        t.upstream.sequence("m", Play(["about ", "blue", "bird."]), Play(["good"]))
        blocked = await say(t, QUESTION, stream=stream)
        assert b"bluebird" not in blocked.raw
        assert blocked.status == 400 or blocked.finish == "content_filter"
        again = await say(t, QUESTION)
        assert (outcome(again), again.text) == ("miss", "good")
        assert (await say(t, "tell me about bluebird")).status == 400


async def test_a_fallbacks_answer_is_not_stored(talk: Converse) -> None:
    """What another model said in its place is not what this one would have said."""
    sections = caching()
    sections["models"]["m"]["on_failure"] = ["spare"]
    async with talk(**sections) as t:
        t.upstream.sequence("m", "503", Play(["mine"]))
        t.spare.script("m", ["spare's"])
        assert (await say(t, QUESTION)).text == "spare's"
        assert (await say(t, QUESTION)).text == "mine"
        assert outcome(await say(t, QUESTION)) == "hit"


async def test_a_client_that_leaves_leaves_no_entry(talk: Converse) -> None:
    """An answer that nobody read to its end is not stored."""
    async with talk(**caching()) as t, Left(t):
        gate = asyncio.Event()
        t.upstream.sequence("m", Play(["54", gate, "32"]), Play(["fresh"]))
        body = {"model": "m", "messages": [{"role": "user", "content": QUESTION}], "max_tokens": 99, "stream": True}
        async with t.http.stream("POST", CHAT, json=body) as reply:
            async for _ in reply.aiter_lines():
                break
        assert (await t.receipt()).outcome == "client_gone"
        gate.set()
        again = await say(t, QUESTION)
        assert (outcome(again), again.text) == ("miss", "fresh")


# --- a question that asks the same


@DIALECTS
@pytest.mark.parametrize("second", [False, True], ids=["asked whole", "asked streamed"])
async def test_a_like_question_is_answered(talk: Converse, minilm_dir: Path, path: str, second: bool) -> None:
    """The same asked in other words is served with its similarity; it bills nothing."""
    async with talk(**caching(threshold=0.93)) as t, Left(t):
        await warm(t, QUESTION, LIKE_IT)
        t.upstream.script("m", ["5432"])
        assert outcome(await say(t, QUESTION, path)) == "miss"
        reply = await say(t, LIKE_IT, path, stream=second)
        assert (outcome(reply), reply.text, reply.whole) == ("semantic", "5432", True)
        assert 0.93 <= float(reply.header("cache-similarity") or 0) <= 1.0
        assert (reply.header("cache-id") or "").startswith("s-")
        assert len(t.upstream.requests) == 1
        await t.receipt()
        receipt = await t.receipt()
        assert (receipt.answer, receipt.cache, receipt.cost_usd) == ("semantic", "semantic", None)
        assert receipt.saved_usd == pytest.approx(0.018)
        assert receipt.cache_similarity == pytest.approx(float(reply.header("cache-similarity") or 0), abs=1e-3)


@pytest.mark.parametrize(
    ("stored", "asked"),
    [
        (QUESTION, UNLIKE_IT),
        ("How do I enable two-factor authentication?", "How do I disable two-factor authentication?"),
        ("Can I return an item after 30 days?", "Can I return an item after 90 days?"),
        ("How do I convert miles to kilometres?", "How do I convert kilometres to miles?"),
        ("Can I pay in the shop with a card?", "Can I pay in the shop without a card?"),
    ],
)
async def test_a_near_miss_goes_to_the_model(talk: Converse, minilm_dir: Path, stored: str, asked: str) -> None:
    """However near the vectors are, another name, number, direction or sense is another question; the threshold here is
    low, so that it is the veto that decides."""
    async with talk(**caching(threshold=0.5)) as t:
        await warm(t, stored, asked)
        t.upstream.sequence("m", Play(["first"]), Play(["second"]))
        await say(t, stored)
        reply = await say(t, asked)
        assert (outcome(reply), reply.text) == ("miss", "second")
        await t.receipt()
        assert (await t.receipt()).cache_reason.startswith("semantic:veto_")


async def test_like_questions_are_not_shared_between_users(talk: Converse, minilm_dir: Path, tmp_path: Path) -> None:
    """Nearness crosses no partition: another user, key or tenant is a miss."""
    who = people(tmp_path, ann={"tenant": "acme"}, eve={"tenant": "evil"})
    async with talk(**caching(threshold=0.93), access={"keys": "keys.yaml"}) as t:
        await warm(t, QUESTION, LIKE_IT)
        t.upstream.sequence("m", *(Play([f"answer {number}"]) for number in range(4)))
        await say(t, QUESTION, by=named(who["ann"], "u1"))
        strangers = [named(who["ann"], "u2"), who["ann"], named(who["eve"], "u1")]
        for number, stranger in enumerate(strangers, start=1):
            reply = await say(t, LIKE_IT, by=stranger)
            assert (outcome(reply), reply.text) == ("miss", f"answer {number}")
        mine = await say(t, LIKE_IT, by=named(who["ann"], "u1"))
        assert (outcome(mine), mine.text) == ("semantic", "answer 0")


async def test_a_broken_encoder_is_a_miss_that_says_so(talk: Converse, minilm_dir: Path) -> None:
    """Without vectors the model answers, and a header names the part that was missing."""
    async with talk(**caching(threshold=0.93)) as t:
        t.upstream.script("m", ["5432"])
        t.gateway.encoders.local.close()  # type: ignore[union-attr]
        reply = await say(t, QUESTION)
        assert (outcome(reply), reply.text, reply.header("degraded")) == ("miss", "5432", "semantic_cache")
        assert (await t.receipt()).degraded == ("semantic_cache",)


# --- what an entry holds


def masking(**cache: Any) -> dict[str, Any]:
    sections = caching(**cache)
    mask = {"use": "pii", "action": "mask", "on": ["input", "output"], "entities": ["EMAIL_ADDRESS"], "restore": True}
    sections["guardrails"] = {"private": {**mask, "on_error": "closed", "deadline": "5s"}}
    sections["routes"]["default"]["guardrails"] = ["private"]
    return sections


ANN, BOB = "ann.archer@example.com", "bob.baker@example.org"


def _echo(asked: Any) -> list[Item]:
    """The model repeats what it was told: the masked question."""
    return [f"Written to {asked.messages[-1]['content'].split()[-1]}"]


@STREAMS
async def test_entries_are_masked(talk: Converse, own_redis: Callable[..., RedisServer], stream: bool) -> None:
    """A user's address is nowhere in the store, and yet a second user of a shared cache reads his own, never hers."""
    redis = own_redis()
    async with talk(**masking(partition="route"), redis=redis.url) as t:
        t.upstream.script("m", _echo)
        hers = await say(t, f"Please write to {ANN}", stream=stream, by=named({}, "ann"))
        assert (outcome(hers), hers.text) == ("miss", f"Written to {ANN}")
        assert ANN.encode() not in t.upstream.requests[0].body
        kept = everything(redis)
        assert b"Written to" in kept
        assert b"archer" not in kept
        his = await say(t, f"Please write to {BOB}", stream=stream, by=named({}, "bob"))
        assert (outcome(his), his.text) == ("hit", f"Written to {BOB}")
        assert b"archer" not in his.raw
        assert len(t.upstream.requests) == 1
        assert b"baker" not in everything(redis)


def everything(redis: RedisServer) -> bytes:
    """All keys and values of the server."""
    import redis as client

    with client.Redis.from_url(redis.url) as link:
        return b"\n".join(part for key in link.scan_iter() for part in (key, link.dump(key) or b"", _value(link, key)))


def _value(link: Any, key: bytes) -> bytes:
    return link.get(key) or b"" if link.type(key) == b"string" else b""


# --- Redis, when it fails


@pytest.mark.parametrize("how", ["killed", "frozen"])
async def test_a_dead_redis_costs_no_answer(talk: Converse, own_redis: Callable[..., RedisServer], how: str) -> None:
    """While Redis is away every request is answered, says what was skipped, and `/readyz` tells; when it is back, so are
    the hits."""
    redis = own_redis()
    async with talk(**caching(), redis=redis.url) as t, Left(t):
        t.upstream.script("m", ["5432"])
        assert [outcome(await say(t, QUESTION)) for _ in range(2)] == ["miss", "hit"]
        redis.kill() if how == "killed" else redis.pause()
        for number in range(6):
            reply = await say(t, f"{QUESTION} {number}")
            assert (outcome(reply), reply.text, reply.header("degraded")) == ("miss", "5432", "exact_cache")
        ready = await t.http.get("/readyz")
        assert (ready.status_code, ready.json()["status"]) == (200, "ready")
        assert "redis" in ready.json()["degraded"]
        redis.start() if how == "killed" else redis.resume()
        await hit_again(t)
        assert (await t.http.get("/readyz")).json()["degraded"] == {}
        receipts = [await t.receipt() for _ in range(8)]
        assert {receipt.outcome for receipt in receipts} == {"ok"}
        assert [receipt.degraded for receipt in receipts[2:]] == [("exact_cache",)] * 6


async def hit_again(t: Talk) -> None:
    """Asks until the breaker has let a command through; its longest rest is five seconds."""
    async with asyncio.timeout(15):
        for wait in itertools.repeat(0.05):
            if outcome(await say(t, QUESTION)) == "hit":
                return
            await asyncio.sleep(wait)


async def test_a_gateway_starts_without_its_redis(talk: Converse, own_redis: Callable[..., RedisServer]) -> None:
    """Redis may be down when the gateway starts; its caches work when Redis does."""
    redis = own_redis()
    redis.kill()
    async with talk(**caching(), redis=redis.url) as t:
        t.upstream.script("m", ["5432"])
        reply = await say(t, QUESTION)
        assert (outcome(reply), reply.header("degraded")) == ("miss", "exact_cache")
        redis.start()
        await hit_again(t)


SAME = "a secret that replicas share"


@pytest.mark.parametrize(("secret", "shared"), [(SAME, True), ("another secret, as long", False)])
async def test_replicas_share_hits(talk: Converse, redis_url: str, tmp_path: Path, secret: str, shared: bool) -> None:
    """Two gateways on one Redis answer each other's questions if they have the same secret, and else know nothing of
    each other."""
    question = f"{QUESTION} {secret}"  # the Redis is every test's
    async with talk(**caching(), redis=redis_url, server={"secret": SAME}) as one:
        one.upstream.script("m", ["5432"])
        assert outcome(await say(one, question)) == "miss"
        async with talk(**caching(), redis=redis_url, server={"secret": secret}) as two:
            two.upstream.script("m", ["asked again"])
            reply = await say(two, question)
            assert (outcome(reply), reply.text) == (("hit", "5432") if shared else ("miss", "asked again"))
            assert len(two.upstream.requests) == (0 if shared else 1)


async def test_an_edited_configuration_never_serves_the_old_answers(talk: Converse, redis_url: str) -> None:
    """A route whose guardrails or models changed has other keys, so that nothing the new rules forbid comes back."""
    question = f"{QUESTION} edited"
    async with talk(**caching(), redis=redis_url, server={"secret": SAME}) as one:
        one.upstream.script("m", ["about bluebird"])
        await say(one, question)
        sections = caching()
        deny = {"use": "phrases", "deny": ["bluebird"], "action": "block", "on_error": "closed", "on": ["output"]}
        sections["guardrails"] = {"phrases": deny}
        sections["routes"]["default"]["guardrails"] = ["phrases"]
        async with talk(**sections, redis=redis_url, server={"secret": SAME}) as two:
            two.upstream.script("m", ["clean"])
            reply = await say(two, question)
            assert (outcome(reply), reply.text) == ("miss", "clean")
