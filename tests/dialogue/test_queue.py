"""A model that serves so many at once: who waits, who goes first, who is sent away, and what is told of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.admission.config import KeyEntry, KeyFile
from gateway.admission.keyring import hash_of, new_key, write_key_file
from gateway.core.receipt import Receipt
from tests.fixtures.gateway import Converse, Reply, Talk
from tests.fixtures.raw_client import Left, RawClient, asking, post, until


def narrow(most: int = 5, ttl: str = "30s", **fields: Any) -> dict[str, Any]:
    """Model `m` serves one at a time."""
    model = {"targets": [{"provider": "up", "model": "m"}], "concurrency": 1, "queue": {"max": most, "ttl": ttl}}
    return {"m": {**model, **fields}}


@asynccontextmanager
async def taken(t: Talk, **more: Any) -> AsyncIterator[None]:
    """The model's one place is held by somebody, until the block ends."""
    gate = asyncio.Event()
    t.upstream.script("m", [gate, "first"])
    holder = asyncio.create_task(t.ask("hold", **more))
    await t.upstream.received(1)
    t.upstream.script("m", ["next"])
    yield
    gate.set()
    assert (await holder).text == "first"


async def waiting(t: Talk, count: int) -> None:
    await until(lambda: t.gateway.spine._dispatcher.gates.all()["m"].waiting == count)


async def receipts(t: Talk, count: int) -> list[Receipt]:
    return [await t.receipt() for _ in range(count)]


def idle(t: Talk) -> bool:
    return all((g.running, g.waiting) == (0, 0) for g in t.gateway.spine._dispatcher.gates.all().values())


@pytest.mark.parametrize("stream", [False, True])
async def test_one_waits_for_the_other(talk: Converse, stream: bool) -> None:
    """The second is called when the first has its answer; what it waited is in its headers, its receipt and a metric."""
    async with talk(models=narrow()) as t, Left(t):
        async with taken(t, stream=stream):
            second = asyncio.create_task(t.ask("hi", stream=stream))
            await waiting(t, 1)
            page = (await t.http.get("/metrics")).text
            assert 'tidegate_queue_depth{model="m"} 1.0' in page
            assert 'tidegate_queue_running{model="m"} 1.0' in page
            assert len(t.upstream.requests) == 1
        reply = await second
        assert reply.text == "next"
        assert float(reply.header("queued-ms") or 0) > 0
        first, last = await receipts(t, 2)
        assert (first.queued, last.priority) == (0, "normal")
        assert [(stage.name, stage.outcome) for stage in last.timeline if stage.name == "queue"] == [("queue", "ok")]
        assert last.overhead is not None
        assert last.overhead < last.queued + last.duration
        assert idle(t)
        await until(lambda: len(t.gateway.aftermath) == 0)
        assert "tidegate_queue_seconds_count" in (await t.http.get("/metrics")).text


async def test_a_full_queue_sends_away_with_a_time_to_come_back(talk: Converse) -> None:
    """503 and how long to wait, in both headers that SDKs read; no upstream is called for it."""
    async with talk(models=narrow(most=0)) as t, Left(t):
        async with taken(t):
            reply = await t.ask("hi")
            assert (reply.status, reply.error["code"]) == (503, "queue_full")
            assert int(reply.headers["retry-after"]) >= 1
            assert int(reply.headers["retry-after-ms"]) >= 1000
        sent_away = next(r for r in await receipts(t, 2) if r.outcome != "ok")
        assert (sent_away.outcome, sent_away.error, sent_away.attempts) == ("gateway_error", "overloaded", ())
        assert 'tidegate_queue_refused_total{model="m",why="full"} 1.0' in (await t.http.get("/metrics")).text


async def test_whoever_waits_too_long_is_told_so(talk: Converse) -> None:
    """After the queue's time, and not after the request's."""
    async with talk(models=narrow(ttl="30ms")) as t, Left(t), taken(t):
        reply = await t.ask("hi")
        assert (reply.status, reply.error["code"]) == (503, "queue_full")
        assert "30" in reply.error["message"] or "0.03" in reply.error["message"]
        await waiting(t, 0)


async def test_another_model_may_have_a_place(talk: Converse) -> None:
    """A queue that is full is a reason to fall back like any failure, and the receipt says so."""
    async with talk(models=narrow(most=0, on_failure=["spare"])) as t, Left(t):
        t.spare.script("m", ["from spare"])
        async with taken(t):
            assert (await t.ask("hi")).text == "from spare"
            (attempt,) = (await t.receipt()).attempts
            assert (attempt.why, attempt.cause) == ("fallback", "queue full")


async def test_the_deadline_holds_in_the_queue(talk: Converse) -> None:
    """And leaves the place in it to the next."""
    async with talk(models=narrow()) as t, Left(t), taken(t):
        reply = await t.ask("hi", headers={"x-tidegate-timeout-ms": "80"})
        assert (reply.status, reply.error["code"]) == (504, "timeout")
        await waiting(t, 0)


async def test_a_client_that_leaves_the_queue_is_out_of_it(talk: Converse) -> None:
    """At once, and is never called for."""
    async with talk(models=narrow()) as t, Left(t):
        async with taken(t):
            async with RawClient(t.url) as client:
                await client.send(post(asking(stream=True)))
                await waiting(t, 1)
                client.leave()
                assert (await t.receipt()).outcome == "client_gone"
            await waiting(t, 0)
        assert len(t.upstream.requests) == 1
        assert idle(t)


async def test_a_failing_call_gives_its_place_back(talk: Converse) -> None:
    """With its retries done, whatever it ended in."""
    async with talk(models=narrow(most=0, retry={"attempts": 1})) as t, Left(t):
        t.upstream.sequence("m", "reset-before-headers")
        for _ in range(3):
            assert (await t.ask("hi")).status == 502
        assert idle(t)


def keys(folder: Path, **priorities: str | None) -> dict[str, dict[str, str]]:
    """A key file, and each name's headers."""
    made, entries = {}, []
    for name, priority in priorities.items():
        key, id = new_key()
        entries.append(KeyEntry(id=id, hash=hash_of(key), tenant=name, priority=priority))  # type: ignore[arg-type]
        made[name] = {"authorization": f"Bearer {key}"}
    write_key_file(folder / "keys.yaml", KeyFile(keys=entries))
    return made


async def test_keys_have_priorities_and_headers_only_lower_them(talk: Converse, tmp_path: Path) -> None:
    """High before normal before low; asking for more than the key has changes nothing."""
    who = keys(tmp_path, low="low", plain=None, high="high")
    async with talk(models=narrow(), access={"keys": "keys.yaml"}) as t, Left(t):
        asked: list[asyncio.Task[Reply]] = []
        wanted = [("low", "high"), ("high", "low"), ("plain", ""), ("high", "nonsense")]
        async with taken(t, headers=who["plain"]):
            for name, header in wanted:
                headers = {**who[name], **({"x-tidegate-priority": header} if header else {})}
                asked.append(asyncio.create_task(t.ask("hi", headers=headers)))
                await waiting(t, len(asked))
        assert {reply.text for reply in await asyncio.gather(*asked)} == {"next"}
        seen = [(receipt.tenant, receipt.priority) for receipt in await receipts(t, 5)]
        assert seen[0] == ("plain", "normal")
        assert seen[1:3] == [("high", "high"), ("plain", "normal")]
        assert sorted(seen[3:]) == [("high", "low"), ("low", "low")]


async def test_the_lowest_makes_room_in_a_full_queue(talk: Converse, tmp_path: Path) -> None:
    """It is told so, with a time to come back."""
    who = keys(tmp_path, low="low", high="high")
    async with talk(models=narrow(most=1), access={"keys": "keys.yaml"}) as t, Left(t):
        async with taken(t, headers=who["high"]):
            low = asyncio.create_task(t.ask("hi", headers=who["low"]))
            await waiting(t, 1)
            high = asyncio.create_task(t.ask("hi", headers=who["high"]))
            assert (await low).status == 503
            assert "first" in (await low).error["message"]
        assert (await high).text == "next"


async def test_a_route_has_a_priority_for_keys_without_one(talk: Converse) -> None:
    """Its own, for everybody on it."""
    async with talk(routes={"default": {"limits": {"priority": "low"}}}) as t, Left(t):
        t.upstream.script("m", ["hi"])
        await t.ask("hi")
        assert (await t.receipt()).priority == "low"


async def test_a_judge_needs_no_place(talk: Converse) -> None:
    """A check that asks the very model whose one place its request holds would otherwise wait for itself."""
    check = {"use": "judge", "on": ["output"], "action": "flag", "on_error": "closed", "deadline": "3s",
             "question": "Is this rude?", "judge": {"model": "m"}}  # fmt: skip
    async with talk(
        models=narrow(most=0), guardrails={"rude": check}, routes={"default": {"guardrails": ["rude"]}}
    ) as t:
        t.upstream.script("m", ["no"])
        assert (await t.ask("hi")).status == 200
        assert len(t.upstream.requests) == 2


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"concurrency": 0}, "models.m.concurrency"),
        ({"concurrency": None}, "models.m.queue"),
        ({"queue": {"max": -1}}, "models.m.queue.max"),
        ({"queue": {"ttl": "0s"}}, "models.m.queue.ttl"),
    ],
)
async def test_places_that_make_no_sense_are_errors(talk: Converse, fields: dict[str, Any], path: str) -> None:
    """Told by the key that is wrong."""
    from gateway.configuring.problems import ConfigError

    with pytest.raises(ConfigError) as wrong:
        async with talk(models=narrow(**fields)):
            pass
    assert [problem.path for problem in wrong.value.problems] == [path]
