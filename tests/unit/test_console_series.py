"""Counts over time: bounded, by names of the configuration alone, and in the bucket in which they were recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.admission.config import KeyEntry, KeyFile
from gateway.admission.keyring import hash_of, new_key, write_key_file
from gateway.console.series import MOST_NAMES, MOST_SHOWN, SPANS, Series
from gateway.core.clock import ManualClock
from gateway.core.receipt import JUDGE, Receipt
from tests.fixtures.gateway import Converse
from tests.fixtures.raw_client import until
from tests.fixtures.receipts import OPENED, receipt, receipts

API = "/console/api/series"
START = OPENED // 60_000_000_000 * 60_000_000_000
"""On the edge of a minute."""


class Evidence:
    """What the caches would say, and how often they were asked."""

    def __init__(self, **routes: Mapping[str, float]) -> None:
        self.asked = 0
        self.routes = routes

    def __call__(self) -> dict[str, Mapping[str, float]]:
        self.asked += 1
        return {"writer": {"dropped": 0}} | {f"{name}.evidence": stats for name, stats in self.routes.items()}


def reading(bound: float, *, serving: float = 0.0, right: float = 0.0, wrong: float = 0.0) -> dict[str, float]:
    return {
        "wrong_bound": bound,
        "serving": serving,
        "agreements": right,
        "disagreements": wrong,
        "unclear": 0.0,
        "x": 1,
    }


def series(clock: ManualClock | None = None, stats: Evidence | None = None, **changes: Any) -> Series:
    given: dict[str, Any] = {
        "routes": ("default", "shop"),
        "intents": ("billing", "out_of_scope"),
        "limits": {},
        "stats": stats or Evidence(),
    }
    return Series(clock or ManualClock(START), **{**given, **changes})


def feed(made: Series, *given: Receipt) -> None:
    async def record() -> None:
        for one in given:
            await made.record(one)

    asyncio.run(record())


def sums(told: list[dict[str, Any]]) -> dict[str, int]:
    return {each["name"]: sum(each["values"]) for each in told}


# --- buckets


def test_an_edge_belongs_to_the_bucket_it_opens() -> None:
    """A nanosecond before the edge is the old bucket, the edge itself the new one; the last value is the one filling."""
    clock = ManualClock(START)
    made = series(clock)
    feed(made, receipt())
    clock.advance(9.999999999)
    feed(made, receipt())
    assert made.told("15m")["requests"][-2:] == [0, 2]
    clock.advance(0.000000001)
    feed(made, receipt())
    told = made.told("15m")
    assert (told["requests"][-3:], told["step_s"]) == ([0, 2, 1], 10)
    assert told["from_ms"] == START // 1_000_000 - 88 * 10_000
    assert made.told("3h")["requests"][-2:] == [0, 3]


def test_quiet_times_are_zeros_and_what_is_old_falls_out() -> None:
    """A gap is as long as it was; after a span nothing is left of what lies before, whether or not anything came since."""
    clock = ManualClock(START)
    made = series(clock)
    feed(made, receipt())
    clock.advance(120)
    feed(made, receipt())
    assert made.told("15m")["requests"][-13:] == [1, *[0] * 11, 1]
    assert made.told("3h")["requests"][-3:] == [1, 0, 1]
    clock.advance(900)
    assert sum(made.told("15m")["requests"]) == 0
    assert sum(made.told("3h")["requests"]) == 2
    clock.advance(3 * 3600)
    assert sum(made.told("3h")["requests"]) == 0


@given(st.lists(st.floats(0, 4000), max_size=60))
def test_every_list_has_one_value_a_bucket(pauses: list[float]) -> None:
    """However requests lie in time, all lists of a span are as long as it has buckets, and sums agree."""
    clock = ManualClock(START)
    made = series(clock, Evidence(default=reading(0.5)), limits={"default": 0.01})
    for pause in pauses:
        clock.advance(pause)
        feed(made, receipt())
    for span, (_, kept) in SPANS.items():
        told = made.told(span)
        lists = [told["requests"], *told["cache"].values(), *(r["values"] for r in told["routes"] + told["intents"])]
        lists += [each["wrong_bound"] for each in told["evidence"]]
        assert {len(values) for values in lists} == {kept}
        assert sum(told["requests"]) == sum(sums(told["routes"]).values()) == sum(map(sum, told["cache"].values()))
        assert all(len(ring) <= SPANS[name][1] for name, ring in made._rings.items())


# --- names


def test_hits_misses_routes_and_intents_are_counted_apart() -> None:
    """Each receipt counts once in each; one without an intent in none."""
    made = series()
    feed(
        made,
        receipt(cache="hit", intent=""),
        receipt(cache="semantic", route="shop"),
        receipt(cache="miss", route=""),
        receipt(cache="bypass", route=JUDGE, intent="out_of_scope"),
    )
    told = made.told("15m")
    assert {kind: values[-1] for kind, values in told["cache"].items()} == {"exact": 1, "semantic": 1, "miss": 1, "bypass": 1}  # fmt: skip
    assert sums(told["routes"]) == {"default": 1, "judge": 1, "none": 1, "shop": 1}
    assert sums(told["intents"]) == {"billing": 2, "out_of_scope": 1}


def test_names_that_are_not_configured_are_folded() -> None:
    """Whatever names receipts bring, only the configuration's are kept; the rest is one line, `other`, and last."""
    made = series()
    feed(made, *(receipt(route=f"r{n}", intent=f"i{n}") for n in range(1000)), receipt())
    told = made.told("15m")
    assert list(sums(told["routes"]).items()) == [("default", 1), ("other", 1000)]
    assert list(sums(told["intents"]).items()) == [("billing", 1), ("other", 1000)]
    assert all(len(bucket.intents) == 2 for ring in made._rings.values() for bucket in ring)


def test_many_configured_names_are_bounded_and_the_largest_are_shown() -> None:
    """A plot has eight lines and `other`; nothing is lost of the sum; beyond the bound names are not kept apart."""
    names = [f"intent-{n:04}" for n in range(MOST_NAMES + 50)]
    made = series(intents=names)
    feed(made, *(receipt(intent=name) for name in names), *(receipt(intent=names[7]) for _ in range(5)))
    told = made.told("15m")["intents"]
    assert len(told) == MOST_SHOWN + 1
    assert (told[0]["name"], sum(told[0]["values"]), told[-1]["name"]) == (names[7], 6, "other")
    assert sum(sums(told).values()) == len(names) + 5
    assert len(made._rings["3h"][-1].intents) == MOST_NAMES + 1


@given(receipts())
def test_any_receipt_is_counted_without_anyones_words(given: Receipt) -> None:
    """Nothing that came with a request is told, whatever field it stands in."""
    marked = msgspec.structs.replace(given, user="zq-user", session="zq-s", tags=("zq-t",), intent="zq-i", route="zq-r", model="zq-m")  # fmt: skip
    made = series()
    feed(made, marked)
    told = made.told("15m")
    assert sum(told["requests"]) == 1
    assert b"zq-" not in msgspec.json.encode(told)


# --- the bound on wrong hits


def test_evidence_is_none_until_read_and_stays_until_read_again() -> None:
    """The bound of each bucket is its last reading; a bucket without one has what was known before."""
    clock, stats = ManualClock(START), Evidence(default=reading(1.0))
    made = series(clock, stats, limits={"default": 0.01})
    feed(made, receipt())
    clock.advance(30)
    stats.routes["default"] = reading(0.009, serving=1.0, right=320.0)
    [told] = made.told("15m")["evidence"]
    assert (told["name"], told["limit"], "x" in told) == ("default", 0.01, False)
    assert told["wrong_bound"][-5:] == [None, 1.0, 1.0, 1.0, 0.009]
    assert told["serving"][-2:] == [0.0, 1.0]
    assert told["agreements"][-2:] == [0.0, 320.0]


def test_evidence_is_read_once_a_bucket_however_many_requests_come() -> None:
    """Recording stays cheap; who looks always sees what holds now; without a semantic cache nobody is asked."""
    clock, stats, nothing = ManualClock(START), Evidence(default=reading(0.5)), Evidence()
    made = series(clock, stats, limits={"default": 0.01})
    feed(made, *(receipt() for _ in range(100)))
    assert stats.asked == 1
    stats.routes["default"] = reading(0.25)
    assert made.told("15m")["evidence"][0]["wrong_bound"][-1] == 0.25
    bare = series(clock, nothing)
    feed(bare, receipt())
    assert (bare.told("3h")["evidence"], nothing.asked) == ([], 0)


def test_the_routes_nearest_to_their_limit_are_told() -> None:
    """With more routes than lines those far below their limit are left out, and how many there are is said."""
    stats = Evidence(**{f"r{n}": reading(0.001 * (n + 1)) for n in range(12)})
    told = series(stats=stats, limits={f"r{n}": 0.01 for n in range(12)}).told("15m")
    assert [each["name"] for each in told["evidence"]] == [f"r{n}" for n in range(11, 3, -1)]
    assert told["evidence_routes"] == 12


# --- the route


async def test_the_api_tells_what_happened(talk: Converse) -> None:
    """A miss and a hit through a real gateway are there a moment later, under the route that answered."""
    routes = {"default": {"cache": {"exact": {"ttl": "10m"}}}}
    async with talk(routes=routes) as t:
        t.upstream.script("m", ["ok"])
        await t.ask("hi")
        await t.gateway.caches.writer.drained()
        await t.ask("hi")
        await until(lambda: len(t.gateway.recent) == 2)
        for span in SPANS:
            told = (await t.http.get(API, params={"span": span})).json()
            assert (told["span"], sums(told["routes"]), sum(told["cache"]["exact"]), sum(told["cache"]["miss"])) == (span, {"default": 2}, 1, 1)  # fmt: skip
        assert told == (await t.http.get(API, params={"span": "3h"})).json()


@pytest.mark.parametrize("span", ["", "1h", "15M", "x" * 5000])
async def test_an_unknown_span_is_a_clients_error(talk: Converse, span: str) -> None:
    """Refused in JSON, with the spans there are, and nothing of what was sent."""
    async with talk() as t:
        reply = await t.http.get(API, params={"span": span})
        assert (reply.status_code, reply.json()) == (400, {"error": "span: one of 15m, 3h"})
        assert reply.headers["cache-control"] == "no-store"


async def test_where_keys_are_in_force_only_an_admin_may_look(talk: Converse, tmp_path: Any) -> None:
    """No key and a common one see no numbers."""
    (admin, admin_id), (common, common_id) = new_key(), new_key()
    entries = [KeyEntry(id=admin_id, hash=hash_of(admin), admin=True), KeyEntry(id=common_id, hash=hash_of(common))]
    write_key_file(tmp_path / "keys.yaml", KeyFile(keys=entries))
    async with talk(access={"keys": "keys.yaml"}) as t:
        for credential in ({}, {"authorization": f"Bearer {common}"}):
            reply = await t.http.get(API, headers=credential)
            assert (reply.status_code, set(reply.json())) == (401, {"error"})
        assert (await t.http.get(API, headers={"authorization": f"Bearer {admin}"})).status_code == 200
