"""Near answers before and after it is known how often they are wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.dialogue.test_caches import LIKE_IT, QUESTION, caching, outcome, people, say, warm
from tests.fixtures.gateway import Converse, Talk

VERDICTS = "/admin/v1/cache/verdicts"


def shadowing(**semantic: Any) -> dict[str, Any]:
    """A gateway whose default route has a semantic cache, without evidence unless `semantic` says otherwise."""
    sections = caching(threshold=0.9)
    sections["routes"]["default"]["cache"]["semantic"] = {"ttl": "1h", "threshold": 0.9, **semantic}
    return sections


async def metric(t: Talk, name: str) -> float:
    page = (await t.http.get("/metrics")).text
    (line,) = [line for line in page.splitlines() if line.startswith(name + "{")]
    return float(line.rsplit(" ", 1)[1])


async def test_without_evidence_near_questions_go_to_the_model(talk: Converse) -> None:
    """Each near question is answered by the model; the answers are compared, counted, and never the cached one's."""
    async with talk(**shadowing()) as t:
        await warm(t, QUESTION, LIKE_IT)
        t.upstream.script("m", ["5432"])
        await say(t, QUESTION)
        again = await say(t, LIKE_IT)
        assert outcome(again) == "miss"
        assert again.header("cache-id") is None
        assert len(t.upstream.requests) == 2
        assert [(await t.receipt()).cache_reason for _ in range(2)] == ["", "shadow"]
        assert await metric(t, "tidegate_semantic_agreements_total") == 1
        assert await metric(t, "tidegate_semantic_serving") == 0
        assert await metric(t, "tidegate_semantic_wrong_bound") > 0.9


async def test_enough_evidence_opens_the_route_and_a_verdict_closes_it(talk: Converse) -> None:
    """Would-be hits that agreed make the next a hit; a person's word that it was wrong sends the next to the model."""
    async with talk(**shadowing(max_false_hit_rate=0.5, verify_sample=0.0)) as t:
        await warm(t, QUESTION, LIKE_IT)
        t.upstream.script("m", ["5432"])
        await say(t, QUESTION)
        for number in range(5):
            assert outcome(await say(t, f"{'please ' * (number + 1)}{LIKE_IT}")) == "miss"
        hit = await say(t, LIKE_IT)
        assert outcome(hit) == "semantic"
        told = await t.http.post(VERDICTS, json={"id": hit.header("cache-id"), "right": False})
        assert (told.status_code, told.json()["right"]) == (200, False)
        calls = len(t.upstream.requests)
        assert outcome(await say(t, LIKE_IT)) == "miss"
        assert len(t.upstream.requests) == calls + 1
        for wrong, status in (({"id": "s-none", "right": True}, 404), ({"id": "x"}, 400), ([], 400)):
            assert (await t.http.post(VERDICTS, json=wrong)).status_code == status


async def test_only_an_admin_key_gives_verdicts(talk: Converse, tmp_path: Path) -> None:
    """A user's key cannot talk a route into serving, or out of it."""
    keys = people(tmp_path, ann={"tenant": "acme"}, root={"tenant": "house", "admin": True})
    async with talk(**shadowing(evidence="assume", verify_sample=0.0), access={"keys": "keys.yaml"}) as t:
        await warm(t, QUESTION, LIKE_IT)
        t.upstream.script("m", ["5432"])
        await say(t, QUESTION, by=keys["ann"])
        hit = await say(t, LIKE_IT, by=keys["ann"])
        assert outcome(hit) == "semantic"
        told = {"id": hit.header("cache-id"), "right": True}
        for by, status in (({}, 401), (keys["ann"], 401), (keys["root"], 200)):
            assert (await t.http.post(VERDICTS, json=told, headers=by)).status_code == status
