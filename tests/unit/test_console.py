"""The console's memory and its API: bounded, without anyone's words, and shut to whoever may not look."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given

from gateway.admission.config import KeyEntry, KeyFile
from gateway.admission.keyring import hash_of, new_key, write_key_file
from gateway.console.recent import MOST_AT_ONCE, Recent, row_of
from gateway.core.receipt import Receipt
from gateway.core.verdict import Verdict
from tests.fixtures.gateway import Converse
from tests.fixtures.raw_client import until
from tests.fixtures.receipts import receipt, receipts

API = "/console/api/receipts"
ASSETS = ("app.js", "view.js", "detail.js", "pools.js", "trends.js", "plots.js", "words.js", "style.css")


def recent(*given: Receipt, most: int = 500) -> Recent:
    made = Recent(most)

    async def record() -> None:
        for one in given:
            await made.record(one)

    asyncio.run(record())
    return made


def numbers(answer: dict[str, Any]) -> Sequence[int]:
    return [row["number"] for row in answer["receipts"]]


# --- memory


def test_what_is_new_is_told_once() -> None:
    """Rows come oldest first, each number once, and nothing when nothing is new."""
    made = recent(*(receipt() for _ in range(5)))
    assert numbers(made.since(0)) == [1, 2, 3, 4, 5]
    assert numbers(made.since(3)) == [4, 5]
    assert numbers(made.since(5)) == numbers(made.since(99)) == []
    assert made.since(5)["last"] == 5


def test_memory_and_answers_are_bounded() -> None:
    """The oldest fall out of the ring; one answer holds the newest rows and no more; totals count on."""
    made = recent(*(receipt() for _ in range(700)), most=300)
    assert len(made) == 300
    assert numbers(made.since(0)) == list(range(700 - MOST_AT_ONCE + 1, 701))
    assert numbers(made.since(-(10**9))) == numbers(made.since(0))
    assert made.since(0)["totals"]["requests"] == 700


def test_totals() -> None:
    """Requests, look-ups and hits, refusals, failures, masked values, tokens of every attempt, spend and savings, and what is comparable with a baseline."""
    masked = (Verdict("private", "mask", "input", 3), Verdict("private", "mask", "output", 1))
    made = recent(
        receipt(verdicts=masked, overhead=1_000_000),
        receipt(cache="hit", attempts=(), usage=None, cost_usd=None, saved_usd=0.5, overhead=3_000_000, verdicts=()),
        receipt(cache="bypass", outcome="refused", attempts=(), cost_usd=None, overhead=2_000_000, verdicts=()),
        receipt(outcome="cut", overhead=None, cost_usd=0.25, baseline_usd=2.5, verdicts=()),
        receipt(outcome="client_error", attempts=(), cost_usd=None, overhead=None, cache="bypass", verdicts=()),
    )
    assert made.since(0)["totals"] == {
        "requests": 5,
        "hits": 1,
        "lookups": 3,
        "refused": 1,
        "failed": 1,
        "masked": 4,
        "tokens": 2 * 1280,
        "cost_usd": 0.25 + 0.000153,
        "saved_usd": 0.5,
        "baseline_usd": 2.5,
        "baseline_spent_usd": 0.25,
        "overhead_p50_ms": 2.0,
    }


def test_a_restart_is_told() -> None:
    """Two processes have different names, so a page knows that numbers begin anew."""
    assert recent().since(0)["instance"] != recent().since(0)["instance"]


def test_nothing_yet() -> None:
    """A fresh gateway answers with zeros and no rows."""
    answer = recent().since(0)
    assert (answer["last"], answer["receipts"], answer["totals"]["overhead_p50_ms"]) == (0, [], None)


# --- rows


def test_a_row_has_times_in_milliseconds() -> None:
    """Stages and attempts where they were on the receipt's clock, with the first token of each attempt."""
    row = row_of(7, receipt())
    assert (row["number"], row["ms"], row["ttft_ms"], row["overhead_ms"]) == (7, 120.0, 52.0, 4.1)
    assert row["stages"][1] == {"name": "receive", "start_ms": 0.5, "end_ms": 1.0, "outcome": "ok"}
    failed, good = row["attempts"]
    assert (failed["outcome"], failed["status"], failed["first_ms"], failed["usage"]) == (
        "upstream_failed",
        503,
        None,
        None,
    )
    assert (good["why"], good["start_ms"], good["first_ms"], good["end_ms"]) == ("retry", 21.0, 51.0, 118.0)
    assert good["usage"] == {"input": 1200, "output": 80, "cached": 1000, "reasoning": 30}
    assert row["guardrails"][0] == {"check": "private", "action": "mask", "side": "input", "count": 2, "category": "", "score": None, "reason": "", "ms": 0.31}  # fmt: skip


@given(receipts())
def test_any_receipt_is_a_row_without_anyones_words(given: Receipt) -> None:
    """Every receipt can be told as JSON, and none tells who the user was, in which session, or under which tags."""
    marked = msgspec.structs.replace(given, user="zq-user", session="zq-session", tags=("zq-tag",))
    assert b"zq-" not in msgspec.json.encode(row_of(1, marked))
    assert json.loads(msgspec.json.encode(recent(marked).since(0)))["last"] == 1


# --- the routes


async def test_the_api_tells_what_happened(talk: Converse) -> None:
    """A request through the gateway is a row a moment later; asked again with its number, there is nothing new."""
    async with talk() as t:
        t.upstream.script("m", ["ok"])
        await t.ask("hi", headers={"x-request-id": "request-of-mine"})
        await until(lambda: len(t.gateway.recent) == 1)
        answer = (await t.http.get(API)).json()
        assert [row["id"] for row in answer["receipts"]] == ["request-of-mine"]
        assert (await t.http.get(API, params={"after": answer["last"]})).json()["receipts"] == []


async def test_the_page_is_shut_to_everything_foreign(talk: Converse) -> None:
    """Page, assets and API: a policy that allows our own files only, never framed, never stored, never sniffed."""
    async with talk() as t:
        for path in ("/console", API, "/console/api/series", *(f"/console/{name}" for name in ASSETS)):
            reply = await t.http.get(path)
            policy = reply.headers["content-security-policy"]
            assert reply.status_code == 200, path
            assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';")
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert (reply.headers["cache-control"], reply.headers["x-content-type-options"]) == ("no-store", "nosniff")


@pytest.mark.parametrize("path", ["nothing.js", "index.html", "..%2frecent.py", "%2e%2e%2f%2e%2e%2fapp.py", "static"])
async def test_only_named_files_are_served(talk: Converse, path: str) -> None:
    """Whatever else is asked for is not there."""
    async with talk() as t:
        assert (await t.http.get(f"/console/{path}")).status_code == 404


@pytest.mark.parametrize("after", ["x", "1.5", "", "9" * 5000])
async def test_a_number_that_is_none_is_a_clients_error(talk: Converse, after: str) -> None:
    """Nonsense is refused in JSON, without a trace of what we are made of."""
    async with talk() as t:
        reply = await t.http.get(API, params={"after": after})
        assert reply.status_code in (200, 400)
        assert "error" in reply.json() or "receipts" in reply.json()
        assert "Traceback" not in reply.text


async def test_where_keys_are_in_force_only_an_admin_may_look(talk: Converse, tmp_path: Path) -> None:
    """No key, a wrong one and a common one see nothing; the page itself holds no data and is open."""
    (admin, admin_id), (common, common_id) = new_key(), new_key()
    entries = [KeyEntry(id=admin_id, hash=hash_of(admin), admin=True), KeyEntry(id=common_id, hash=hash_of(common))]
    write_key_file(tmp_path / "keys.yaml", KeyFile(keys=entries))
    async with talk(access={"keys": "keys.yaml"}) as t:
        assert (await t.http.get("/console")).status_code == 200
        for credential in (None, "Bearer nonsense", f"Bearer {common}"):
            reply = await t.http.get(API, headers={"authorization": credential} if credential else {})
            assert (reply.status_code, set(reply.json())) == (401, {"error"})
        assert (await t.http.get(API, headers={"authorization": f"Bearer {admin}"})).status_code == 200
