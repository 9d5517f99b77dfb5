"""What askers think of answers: read, theirs alone to say, joined to the record, counted, and evidence against a cache."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from gateway.telemetry import logs
from tests.dialogue.test_admission import ACCESS, make_keys
from tests.dialogue.test_caches import LIKE_IT, QUESTION, caching, outcome, say, warm
from tests.fixtures.gateway import Converse, Reply, Talk
from tests.fixtures.raw_client import counters

FEEDBACK = "/v1/feedback"
Headers = dict[str, str]


def bearer(key: str) -> Headers:
    return {"authorization": f"Bearer {key}"}


async def rate(t: Talk, id: str, by: Headers | None = None, **said: Any) -> Reply:
    return await t.send({"id": id, **said}, FEEDBACK, **(by or {}))


async def counted(t: Talk) -> dict[tuple[str, str], float]:
    """(route, rating) -> how often."""
    found = counters((await t.http.get("/metrics")).content)
    return {
        (dict(labels)["route"], dict(labels)["rating"]): value
        for (name, labels), value in found.items()
        if name == "tidegate_feedback_total"
    }


async def test_a_rating_is_joined_to_the_record_and_counted(talk: Converse) -> None:
    """The record and the console's row have it, and the counter has it once, however often the same is said."""
    async with talk() as t:
        t.upstream.script("m", ["hello"])
        id = (await t.ask("hi")).headers["x-request-id"]
        for _ in range(2):
            reply = await rate(t, id, score=0.9, comment="good", tags=["tone"])
            assert (reply.status, reply.body) == (200, {"id": id, "rating": "up", "evicted": False})
        assert await counted(t) == {("default", "up"): 1.0}
        record = (await t.http.get(f"/admin/v1/receipts/{id}")).json()
        told = {name: record["feedback"][name] for name in ("rating", "score", "comment", "tags")}
        assert told == {"rating": "up", "score": 0.9, "comment": "good", "tags": ["tone"]}
        told = (await t.http.get("/console/api/receipts")).json()
        assert told["receipts"][0]["rating"] == "up"
        assert told["ratings"] == {id: "up"}


@pytest.mark.parametrize(
    ("said", "word"),
    [({"rating": "up"}, "up"), ({"score": 0}, "down"), ({"score": 0.5}, "neutral"), ({"rating": "down", "score": 1}, "down")],
)  # fmt: skip
async def test_a_score_says_a_word(talk: Converse, said: dict[str, Any], word: str) -> None:
    """Above a half is up, below it down; a word that is said is the word."""
    async with talk() as t:
        t.upstream.script("m", ["hello"])
        id = (await t.ask("hi")).headers["x-request-id"]
        assert (await rate(t, id, **said)).body["rating"] == word


@pytest.mark.parametrize(
    ("said", "param"),
    [
        ({}, "rating"),
        ({"rating": "great"}, "rating"),
        ({"score": 2}, "score"),
        ({"score": "1"}, "score"),
        ({"rating": "up", "comment": "x" * 4001}, "comment"),
        ({"rating": "up", "tags": ["t"] * 17}, "tags"),
        ({"rating": "up", "tags": [""]}, "tags"),
        ({"rating": "up", "note": "x"}, None),
    ],
)
async def test_what_is_wrong_is_named_and_not_repeated(talk: Converse, said: dict[str, Any], param: str | None) -> None:
    """A 400 says which field; nothing is counted."""
    async with talk() as t:
        t.upstream.script("m", ["hello"])
        id = (await t.ask("hi")).headers["x-request-id"]
        reply = await rate(t, id, **said)
        assert (reply.status, reply.error["param"]) == (400, param)
        assert "xxxx" not in reply.error["message"]
        assert await counted(t) == {}
        assert 'tidegate_rejected_connections_total{why="bad_request"} 1.0' in (await t.http.get("/metrics")).text


async def test_only_who_asked_may_rate(talk: Converse, tmp_path: Path) -> None:
    """Another key hears what an unknown exchange hears; an admin's key may; a bad key is a 401."""
    one, two, admin = make_keys(tmp_path, {}, {}, {"admin": True})
    async with talk(access=ACCESS) as t:
        t.upstream.script("m", ["hello"])
        id = (await t.ask("hi", headers=bearer(one))).headers["x-request-id"]
        foreign = await rate(t, id, bearer(two), rating="down")
        unknown = await rate(t, "tg-nothing-of-ours", bearer(two), rating="down")
        assert foreign.status == unknown.status == 404
        assert foreign.error == unknown.error
        assert (await rate(t, id, rating="down")).status == 401
        assert (await rate(t, id, bearer(one), rating="up")).status == 200
        assert (await rate(t, id, bearer(admin), rating="down")).status == 200
        assert await counted(t) == {("default", "up"): 1.0, ("default", "down"): 1.0}


async def test_what_was_no_answer_cannot_be_rated(talk: Converse) -> None:
    """A failed exchange has an id, and nothing to think of."""
    async with talk() as t:
        t.upstream.reply("m", 400, {"error": {"message": "no"}})
        id = (await t.ask("hi")).headers["x-request-id"]
        assert (await rate(t, id, rating="down")).status == 404


async def test_comments_stay_out_of_the_log_and_are_masked(talk: Converse) -> None:
    """The line says how long a comment was; the record has it without what is private."""
    out = io.StringIO()
    async with talk(logger=logs.setup("json", out)) as t:
        t.upstream.script("m", ["hello"])
        id = (await t.ask("hi")).headers["x-request-id"]
        await rate(t, id, rating="down", comment="call me at ada@example.com", tags=["bob@example.com"])
        record = (await t.http.get(f"/admin/v1/receipts/{id}")).json()
        assert record["feedback"]["comment"] == "call me at [EMAIL_ADDRESS]"
        assert record["feedback"]["tags"] == ["[EMAIL_ADDRESS]"]
        (line,) = [row for row in map(json.loads, out.getvalue().splitlines()) if row["event"] == "feedback"]
        assert (line["id"], line["rating"], line["comment_chars"], line["tags"]) == (id, "down", 26, 1)
        assert "example.com" not in out.getvalue()


async def test_a_bad_word_on_a_like_answer_is_evidence_and_forgets_it(talk: Converse, minilm_dir: Path) -> None:
    """The hit counts as wrong, the entry is gone, and the next like question is asked."""
    async with talk(**caching(threshold=0.93)) as t:
        await warm(t, QUESTION, LIKE_IT)
        t.upstream.script("m", ["5432"])
        await say(t, QUESTION)
        near = await say(t, LIKE_IT)
        assert outcome(near) == "semantic"
        before = t.gateway.caches.stats()["default.evidence"]["disagreements"]
        reply = await rate(t, near.headers["x-request-id"], rating="down")
        assert reply.body["evicted"] is True
        assert t.gateway.caches.stats()["default.evidence"]["disagreements"] == before + 1
        assert outcome(await say(t, LIKE_IT)) == "miss"


async def test_a_bad_word_on_the_same_answer_forgets_it(talk: Converse) -> None:
    """An exact hit that somebody does not like is asked anew."""
    async with talk(**caching()) as t:
        t.upstream.script("m", ["one"])
        await say(t, "hi")
        hit = await say(t, "hi")
        assert outcome(hit) == "hit"
        assert (await rate(t, hit.headers["x-request-id"], rating="down")).body["evicted"] is True
        assert outcome(await say(t, "hi")) == "miss"


async def test_processes_that_share_a_redis_take_each_others_ratings(talk: Converse, own_redis: Any) -> None:
    """A rating may come to another replica than the question did; who asked is known there too."""
    redis = own_redis()
    async with talk(redis=redis.url) as one, talk(redis=redis.url) as two:
        one.upstream.script("m", ["hello"])
        id = (await one.ask("hi")).headers["x-request-id"]
        await one.receipt()
        assert (await rate(two, id, rating="up")).status == 200
        redis.kill()
        assert (await rate(two, "tg-another-one", rating="up")).status == 404
