"""Which replica answers: by session, by the beginning of the prompt, by who answers sooner."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.admission.config import KeyEntry, KeyFile
from gateway.admission.keyring import hash_of, new_key, write_key_file
from gateway.faults.server import FaultServer
from gateway.faults.steps import Pause
from tests.fixtures.gateway import Converse, Talk
from tests.fixtures.raw_client import Left, until


def replicas(balance: str) -> Any:
    """A section: provider `up` with both servers as its endpoints."""

    def providers(upstream: FaultServer, spare: FaultServer) -> dict[str, Any]:
        urls = [upstream.base_url, spare.base_url]
        return {"up": {"type": "openai-compatible", "endpoints": urls, "balance": balance}}

    return providers


def answering(t: Talk) -> None:
    t.upstream.script("m", ["one"])
    t.spare.script("m", ["two"])


@pytest.mark.parametrize("header", ["x-tidegate-session", "x-claude-code-session-id"])
async def test_a_session_stays_on_its_replica(talk: Converse, header: str) -> None:
    """Every turn of a conversation that its client names meets the same replica; conversations are spread over both."""
    async with talk(providers=replicas("session")) as t, Left(t):
        answering(t)
        homes = []
        for number in range(12):
            named = {header: f"conversation-{number}"}
            homes.append({(await t.ask(f"turn {turn}", headers=named)).text for turn in range(3)})
        assert all(len(home) == 1 for home in homes)
        assert set.union(*homes) == {"one", "two"}


async def test_without_a_session_a_key_is_one(talk: Converse, tmp_path: Any) -> None:
    """A key's calls stay together; nameless callers are spread over all replicas."""
    made = [new_key() for _ in range(8)]
    entries = [KeyEntry(id=id, hash=hash_of(key)) for key, id in made]
    write_key_file(tmp_path / "keys.yaml", KeyFile(keys=entries))
    async with talk(providers=replicas("session"), access={"keys": "keys.yaml"}) as t, Left(t):
        answering(t)
        homes = []
        for key, _ in made:
            mine = {"authorization": f"Bearer {key}"}
            homes.append({(await t.ask(f"turn {turn}", headers=mine)).text for turn in range(3)})
        assert all(len(home) == 1 for home in homes)
        assert set.union(*homes) == {"one", "two"}
    async with talk(providers=replicas("session")) as t:
        answering(t)
        assert {(await t.ask("hi")).text for _ in range(2)} == {"one", "two"}


async def test_what_begins_alike_meets_the_same_replica(talk: Converse) -> None:
    """A growing conversation keeps its replica, in both dialects; other beginnings are spread over both."""
    async with talk(providers=replicas("prefix")) as t, Left(t):
        answering(t)
        homes = []
        for number in range(12):
            turns = [{"role": "user", "content": f"question {number}"}]
            seen = set()
            for turn in range(3):
                body = {"model": "m", "messages": turns, "max_tokens": 9}
                seen.add((await t.send(body)).text)
                reply = await t.send(body, "/v1/messages")
                seen.add(reply.body["content"][0]["text"])
                turns = [
                    *turns,
                    {"role": "assistant", "content": f"answer {turn}"},
                    {"role": "user", "content": f"and {turn}?"},
                ]
            homes.append(seen)
        assert all(len(home) == 1 for home in homes)
        assert set.union(*homes) == {"one", "two"}


async def test_the_sooner_replica_gets_the_calls(talk: Converse) -> None:
    """Once both have been measured, calls one after the other go to the one that answers sooner."""
    async with talk(providers=replicas("latency")) as t, Left(t):
        t.upstream.script("m", [Pause(5), "slow"])  # 100 ms
        t.spare.script("m", ["quick"])
        said = [(await t.ask("hi", stream=True)).text for _ in range(10)]
        assert sorted(said[:2]) == ["quick", "slow"]
        assert said[2:] == ["quick"] * 8


@pytest.mark.parametrize("balance", ["session", "prefix"])
async def test_a_hot_session_spills_over(talk: Converse, balance: str) -> None:
    """More calls at one time than a replica's share go on to the other; none is refused."""
    async with talk(providers=replicas(balance)) as t, Left(t):
        gate = asyncio.Event()
        t.upstream.script("m", [gate, "one"])
        t.spare.script("m", [gate, "two"])
        asked = [asyncio.create_task(t.ask("hi", headers={"x-tidegate-session": "hot"})) for _ in range(16)]
        await until(lambda: t.upstream.inflight + t.spare.inflight == 16)
        counts = sorted((t.upstream.inflight, t.spare.inflight))
        assert 6 <= counts[0] <= counts[1] <= 10, counts
        gate.set()
        assert {reply.status for reply in await asyncio.gather(*asked)} == {200}


@pytest.mark.parametrize("balance", ["session", "prefix", "latency"])
async def test_a_dead_replica_costs_no_answer(talk: Converse, balance: str) -> None:
    """When a replica is gone its conversations go on at the other."""
    async with talk(providers=replicas(balance)) as t, Left(t):
        answering(t)
        await t.upstream.stop()
        for number in range(12):
            reply = await t.ask(f"question {number}", headers={"x-tidegate-session": f"s{number}"})
            assert (reply.status, reply.text) == (200, "two")


@pytest.mark.parametrize("balance", ["session", "prefix", "latency", "least_inflight", "round_robin"])
async def test_a_replica_at_its_limit_is_left_alone_for_as_long_as_it_says(talk: Converse, balance: str) -> None:
    """Its 429 is not what a client gets, and until it is over nobody else's call goes there."""
    async with talk(providers=replicas(balance)) as t, Left(t):
        t.upstream.sequence("m", "429-seconds")
        t.spare.script("m", ["two"])
        for number in range(12):
            reply = await t.ask(f"question {number}", headers={"x-tidegate-session": f"s{number}"})
            assert (reply.status, reply.text) == (200, "two")
        assert len([one for one in t.upstream.requests if one.path.endswith("completions")]) <= 1
