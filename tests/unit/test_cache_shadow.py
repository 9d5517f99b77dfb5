from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from cache.backends.evidence_disk import DiskLog
from cache.build import Caches, build
from cache.config import CacheConfig, SemanticConfig
from cache.evidence import WINDOW, Outcome
from cache.evidence_file import read_evidence, write_evidence
from cache.policy import HEADER
from cache.shadow import judged
from cache.text import read
from gateway.core.clock import ManualClock
from gateway.core.errors import NotCached
from gateway.core.exchange import Exchange
from tests.fixtures.cache_world import SECRET, TrigramEmbed, ask, exchange, look, play, said

Q = "What is the capital of Peru?"
SAME = "hello, what is the capital of peru"


async def started(
    folder: Path | None = None, redis: str | None = None, encoder: str = "trigrams", **semantic: object
) -> Caches:
    """`encoder`: its evidence is its own, in a Redis that other tests use too."""
    config = CacheConfig(semantic=SemanticConfig(**{"threshold": 0.9, **semantic}))  # type: ignore[arg-type]
    caches = build(
        {"default": config},
        secret=SECRET,
        clock=ManualClock(),
        embed=TrigramEmbed(id=encoder),
        qdrant=str(folder) if folder else ":memory:",
        redis=redis,
        base=folder or Path(),
    )
    await caches.start()
    return caches


def stats(caches: Caches) -> dict[str, float]:
    return dict(caches.stats()["default.evidence"])


def named(id: str, text: str = SAME) -> Exchange:
    made = exchange(text)
    made.id = id
    return made


async def test_in_shadow_the_model_is_asked_and_compared() -> None:
    """Without evidence a would-be hit is a miss with the reason `shadow`, and agreeing answers are counted."""
    caches = await started()
    await ask(caches, exchange(Q), "Lima.")
    again = exchange(SAME)
    assert await ask(caches, again, "lima") is None
    assert (again.cache.result, again.cache.reason) == ("miss", "shadow")
    assert again.cache.id == ""
    assert stats(caches)["agreements"] == 1
    assert stats(caches)["serving"] == 0
    await caches.close()


async def test_a_contradicting_answer_bars_the_pair() -> None:
    """An answer that contradicts the cached one is a wrong would-be hit, and that pair is not tried again."""
    caches = await started()
    await ask(caches, exchange(Q), "It has 10 million people.")
    await ask(caches, exchange(SAME), "It has 11 million people.")
    assert stats(caches)["disagreements"] == 1
    assert stats(caches)["bad_pairs"] == 1
    await caches.close()


async def test_two_bad_pairs_evict_the_entry() -> None:
    """A person's word against a hit bars that pair at once; the second question that the entry answers wrongly ends it."""
    caches = await started(evidence="assume", verify_sample=0.0, max_false_hit_rate=1.0)
    await ask(caches, exchange(Q), "Lima.")
    hit = named("x-1")
    assert await look(caches.routes["default"], hit) is not None
    assert await caches.verdict("x-1", right=False)
    vetoed = exchange(SAME)
    assert await look(caches.routes["default"], vetoed) is None
    assert vetoed.cache.reason == "semantic:veto_known_pair"
    assert caches.stats()["default.semantic"]["entries"] == 1
    other = Outcome(0.95, "wrong", hit.cache.id, "s-another-question", confirmed=True)
    await caches._shadows["default"]._add(other)
    assert caches.stats()["default.semantic"]["entries"] == 0
    await caches.close()


async def test_a_verdict_on_an_unknown_hit_is_refused() -> None:
    """Only what this process saw can be judged; a known one counts once however often it is judged."""
    caches = await started(evidence="assume", verify_sample=0.0)
    await ask(caches, exchange(Q), "Lima.")
    hit = named("x-1")
    assert await look(caches.routes["default"], hit) is not None
    assert not await caches.verdict("x-2", right=True)
    assert await caches.verdict("x-1", right=True)
    assert await caches.verdict(hit.cache.id, right=True)
    assert stats(caches)["outcomes"] == 1
    await caches.close()


async def test_a_share_of_hits_is_sampled() -> None:
    """With `verify_sample: 0.25` every fourth hit goes to the model, is served fresh, and is compared."""
    caches = await started(evidence="assume", verify_sample=0.25)
    await ask(caches, exchange(Q), "Lima.")
    reasons = []
    for _ in range(8):
        asked = exchange(SAME)
        await look(caches.routes["default"], asked)
        reasons.append(asked.cache.reason)
    assert reasons == ["", "", "", "shadow_sample"] * 2
    await caches.close()


async def test_who_wants_a_cached_answer_or_none_is_never_sampled() -> None:
    """`only-if-cached` gets the hit that sampling would have taken; in shadow it gets none."""
    only = {HEADER: "only-if-cached"}
    caches = await started(evidence="assume", verify_sample=1.0)
    await ask(caches, exchange(Q), "Lima.")
    assert await look(caches.routes["default"], exchange(SAME, headers=only)) is not None
    await caches.close()
    caches = await started()
    await ask(caches, exchange(Q), "Lima.")
    with pytest.raises(NotCached):
        await look(caches.routes["default"], exchange(SAME, headers=only))
    await caches.close()


async def test_an_answer_that_is_not_whole_is_not_compared() -> None:
    """A client that leaves, or a truncated answer, says nothing about the cached one."""
    caches = await started()
    await ask(caches, exchange(Q), "Lima.")
    for finish, whole in (("stop", False), ("length", True)):
        asked = exchange(SAME)
        await look(caches.routes["default"], asked)
        play(caches.routes["default"].tap, asked, said("Cusco.", finish), whole=whole)
        await caches.writer.drained()
    assert stats(caches)["outcomes"] == 0
    await caches.close()


async def test_evidence_opens_the_route_through_the_front() -> None:
    """Would-be hits that agreed, gathered by asking, make the next one a hit; one that disagrees closes it again."""
    caches = await started(max_false_hit_rate=0.5)
    await ask(caches, exchange(Q), "Lima.")
    asked: list[Exchange] = []
    while not stats(caches)["serving"]:
        asked.append(exchange(SAME))
        assert await ask(caches, asked[-1], "Lima.") is None
        assert len(asked) < 20
    hit = exchange(SAME)
    assert await look(caches.routes["default"], hit) is not None
    assert await caches.verdict(hit.id, right=False)
    assert not stats(caches)["serving"]
    await caches.close()


@pytest.mark.parametrize("where", ["disk", "redis"])
async def test_evidence_outlives_the_process(where: str, tmp_path: Path, redis_url: str) -> None:
    """Outcomes kept on disk or in Redis are there at the next start, bad pairs included."""
    place = {"folder": tmp_path / "vectors"} if where == "disk" else {"redis": redis_url, "encoder": "outliving"}
    caches = await started(threshold=0.91, **place)  # type: ignore[arg-type]
    shadow = caches._shadows["default"]
    before = stats(caches)["outcomes"]
    for number in range(5):
        await shadow._add(Outcome(0.95, "right", f"s-{number}", "q"))
    await shadow._add(Outcome(0.95, "wrong", "s-bad", "q", confirmed=True))
    await caches.close()
    again = await started(threshold=0.91, **place)  # type: ignore[arg-type]
    assert stats(again)["outcomes"] == before + 6
    assert again._shadows["default"].evidence.bad("s-bad", "q")
    await again.close()


async def test_a_dead_redis_keeps_what_is_known_here(tmp_path: Path) -> None:
    """Evidence that cannot be read or written elsewhere still counts in this process, and no request waits for it."""
    caches = await started(redis="redis://127.0.0.1:1/0", max_false_hit_rate=0.9)
    await ask(caches, exchange(Q), "Lima.")
    for _ in range(3):
        await ask(caches, exchange(SAME), "Lima.")
    assert stats(caches)["serving"] == 1
    async with asyncio.timeout(10):
        await caches._forgetting.refresh()
    assert stats(caches)["serving"] == 1
    await caches.close()


async def test_a_file_of_evidence_opens_a_route_at_start(tmp_path: Path) -> None:
    """What `--write-evidence` wrote lets the route serve from the first request, if its scores are this gateway's."""
    write_evidence(tmp_path / "e.json", "trigrams", [Outcome(0.95, "right")] * 299)
    caches = await started(tmp_path, evidence="e.json")
    assert stats(caches)["serving"] == 1
    await caches.close()
    write_evidence(tmp_path / "other.json", "another encoder", [Outcome(0.95, "right")] * 299)
    with pytest.raises(ValueError, match=r"routes.default.cache.semantic.evidence: .*another encoder"):
        await started(tmp_path, evidence="other.json")
    with pytest.raises(ValueError, match="cannot read"):
        await started(tmp_path, evidence="none.json")
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(ValueError, match="no evidence file"):
        read_evidence(tmp_path / "bad.json", "trigrams")


@pytest.mark.parametrize(
    ("label", "cosine", "cached", "fresh"),
    [
        ("right", 0.95, "You can reset the password on the account page.", "Reset your password on the account page."),
        ("unclear", 0.95, "It takes 3 days.", "It takes 5 days."),
        ("unclear", 0.95, "You can return it.", "You can not return it."),
        ("unclear", 0.70, "Reset it on the account page.", "Ask the support team to reset it."),
        ("wrong", 0.30, "Lima is the capital.", "Bake it for an hour."),
    ],
)
def test_the_comparator_errs_towards_unclear(label: str, cosine: float, cached: str, fresh: str) -> None:
    """Right needs nearness, shared words and no contradiction; only far answers are wrong; the rest is unclear."""
    assert judged(read(cached), read(fresh), cosine) == label


async def test_replicas_serve_by_the_same_evidence(redis_url: str) -> None:
    """What one replica found out opens the route in another, and a bad pair is barred in both."""
    one, two = [
        await started(redis=redis_url, encoder="replicas", threshold=0.92, max_false_hit_rate=0.4) for _ in range(2)
    ]
    for number in range(20):
        await one._shadows["default"]._add(Outcome(0.95, "right", f"s-{number}", "q"))
    await one._shadows["default"]._add(Outcome(0.95, "wrong", "s-bad", "q", confirmed=True))
    assert stats(two)["serving"] == 0
    await two._forgetting.refresh()
    assert stats(two)["serving"] == 1
    assert two._shadows["default"].evidence.bad("s-bad", "q")
    await one.close()
    await two.close()


async def test_evidence_on_disk_is_bounded_and_survives_damage(tmp_path: Path) -> None:
    """The file is rewritten with the latest outcomes before it holds twice the window, and a broken line is left out."""
    file = tmp_path / "deep" / "evidence.jsonl"
    log = DiskLog(file)
    assert await log.load() == []
    for number in range(2 * WINDOW + 10):
        await log.append(Outcome(0.95, "right", f"s-{number}", "q"))
    assert len(file.read_bytes().splitlines()) == WINDOW + 10
    with file.open("ab") as end:
        end.write(b"{half a li")
    await log.close()
    again = DiskLog(file)
    kept = await again.load()
    assert kept is not None
    assert [one.entry for one in kept][-1] == f"s-{2 * WINDOW + 9}"
    assert len(kept) == WINDOW - 1
    assert file.stat().st_mode & 0o077 == 0
    await again.close()
