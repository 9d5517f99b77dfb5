"""Headers in and out: nothing secret goes on, nothing odd gets through, and every number is bounded."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import BudgetSpent, NotCached, RateLimited, UpstreamRefusedUs
from gateway.core.exchange import CacheNote
from gateway.core.verdict import Verdict
from gateway.http import headers
from gateway.http.query import with_key
from tests.fixtures.spine_world import World

RAW = st.lists(st.tuples(st.binary(min_size=1, max_size=12), st.binary(max_size=12)), max_size=6)


@given(RAW, st.binary(min_size=1, max_size=20))
def test_no_stage_ever_sees_a_credential(raw: list[tuple[bytes, bytes]], secret: bytes) -> None:
    """Whatever else is sent, and however the name is spelled."""
    for name in (b"Authorization", b"X-API-Key", b"api-key", b"X-Goog-Api-Key", b"COOKIE", b"Proxy-Authorization"):
        given, _ = headers.decode([*raw, (name, secret)])
        assert name.decode().lower() not in given


@pytest.mark.parametrize(
    ("sent", "credential"),
    [
        ([("authorization", "Bearer k")], "k"),
        ([("authorization", "bearer   k ")], "k"),
        ([("authorization", "k")], "k"),
        ([("authorization", "Basic k")], "Basic k"),
        ([("authorization", "Bearer ")], None),
        ([("authorization", "Bearer")], None),
        ([("authorization", "")], None),
        ([("x-api-key", "k")], "k"),
        ([("api-key", " k ")], "k"),
        ([("api-key", "c"), ("x-api-key", "b"), ("authorization", "Bearer a")], "a"),
        ([("api-key", "c"), ("x-api-key", "b")], "b"),
        ([("x-goog-api-key", "d"), ("api-key", "c")], "c"),
        ([("x-goog-api-key", "d")], "d"),
        ([("authorization", "Bearer "), ("x-api-key", "b")], "b"),
        ([], None),
    ],
)
def test_the_credential_is_the_first_that_says_something(sent: list[tuple[str, str]], credential: str | None) -> None:
    """OpenAI's header, then Anthropic's, then Azure's, then Google's."""
    assert headers.decode([(name.encode(), value.encode()) for name, value in sent])[1] == credential


@pytest.mark.parametrize(
    ("query", "sent", "credential"),
    [
        (b"key=k", [], "k"),
        (b"alt=sse&key=a%2Bb+c", [], "a+b c"),
        (b"key=k&key=l", [], "k"),
        (b"key=k", [(b"x-goog-api-key", b"h")], "h"),
        (b"key=k", [(b"authorization", b"Bearer h")], "h"),
        (b"key=", [], None),
        (b"", [], None),
        (b"&".join([b"a=b"] * 40) + b"&key=k", [], None),
        (b"\xff\xfe%zz", [], None),
    ],
)
def test_a_credential_may_stand_in_the_url(
    query: bytes, sent: list[tuple[bytes, bytes]], credential: str | None
) -> None:
    """Google's clients may send it so; a header that has one wins, and a query of any other form has none."""
    scope = {"query_string": query, "headers": sent}
    assert headers.decode(with_key(scope))[1] == credential
    assert scope["headers"] == sent


@given(st.text(max_size=80))
def test_a_request_id_is_plain_or_fresh(given_id: str) -> None:
    """What a client sends is logged and sent back, so only plain names are taken over."""
    out = headers.exchange_id({"x-request-id": given_id}, "fresh")
    assert out == "fresh" or (out == given_id and out.isascii() and 8 <= len(out) <= 64 and not set(out) - set(PLAIN))


PLAIN = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"


DEADLINES = {
    "x-tidegate-timeout-ms": 0.001,
    "x-litellm-timeout": 1.0,
    "x-portkey-request-timeout": 0.001,
    "x-stainless-read-timeout": 1.0,
    "x-stainless-timeout": 1.0,
}
FIRST_TOKENS = {"x-tidegate-ttft-timeout-ms": 0.001, "x-litellm-stream-timeout": 1.0, "cf-aig-request-timeout": 0.001}


@given(st.text(max_size=12) | st.floats().map(str) | st.integers().map(str), st.floats(0.001, 600))
def test_a_deadline_is_never_more_than_the_operators(value: str, most: float) -> None:
    """Nor zero, nor negative, nor no number."""
    for name in DEADLINES:
        seconds = headers.timeout({name: value}, most)
        assert 0 < seconds <= most
        assert math.isfinite(seconds)
    for name in FIRST_TOKENS:
        asked = headers.first_token({name: value})
        assert asked is None or (asked > 0 and math.isfinite(asked))


@pytest.mark.parametrize(("name", "unit"), DEADLINES.items())
def test_a_deadline_is_read_in_the_unit_of_its_name(name: str, unit: float) -> None:
    """Two seconds, as each SDK and each gateway that was used before says it."""
    assert headers.timeout({name: f"{2 / unit:g}"}, 60) == pytest.approx(2.0)
    assert headers.first_token({name: "2"}) is None


@pytest.mark.parametrize(("name", "unit"), FIRST_TOKENS.items())
def test_a_first_tokens_time_is_another_thing_than_a_deadline(name: str, unit: float) -> None:
    """It bounds each call's silence and not the answer."""
    assert headers.first_token({name: f"{2 / unit:g}"}) == pytest.approx(2.0)
    assert headers.timeout({name: "2"}, 60) == 60


def test_the_gateways_own_deadline_wins_over_the_sdks() -> None:
    """It was asked for on purpose."""
    both = {"x-tidegate-timeout-ms": "1500", "x-stainless-read-timeout": "3"}
    assert headers.timeout(both, 60) == 1.5
    assert headers.timeout({**both, "x-tidegate-timeout-ms": "x"}, 60) == 3


GOOD = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-"


def test_a_trace_is_joined_with_its_decision() -> None:
    """Sampled or not is the caller's to say."""
    for flags, sampled in (("01", True), ("00", False), ("03", True)):
        trace = headers.trace({"traceparent": GOOD + flags}, sample=not sampled)
        assert (trace.trace_id, trace.parent, trace.sampled) == (GOOD[3:35], GOOD[36:52], sampled)
        assert trace.span_id not in (trace.parent, "")


@pytest.mark.parametrize(
    "bad",
    ["", "nonsense", GOOD, GOOD + "0g", GOOD.upper() + "01", GOOD + "01-more", "01" + GOOD[2:] + "01",
     "00-" + "0" * 32 + "-b7ad6b7169203331-01", "00-0af7651916cd43dd8448eb211c80319c-" + "0" * 16 + "-01"],
)  # fmt: skip
@pytest.mark.parametrize("sample", [True, False])
def test_a_broken_trace_is_begun_anew(bad: str, sample: bool) -> None:
    """As if none had come."""
    trace = headers.trace({"traceparent": bad}, sample)
    assert (trace.parent, trace.sampled) == ("", sample)
    assert len(trace.trace_id) == 32
    assert trace.trace_id != GOOD[3:35]


def test_only_what_is_known_is_told() -> None:
    """A request that was refused at the door has an id and little else."""
    told = dict(headers.told(World([]).exchange()))
    assert set(told) == {b"x-request-id", b"request-id", b"x-tidegate-cache", b"x-tidegate-overhead-ms"}


def test_what_was_decided_is_told() -> None:
    """In the words of the contract."""
    exchange = World([]).exchange()
    exchange.route, exchange.intent, exchange.served_model = "support", "billing", "fast"
    exchange.cache = CacheNote(result="semantic", id="e1", similarity=0.98765)
    exchange.verdicts = [Verdict("private", "mask", "input", 2), Verdict("attacks", "allow", "input")]
    exchange.cost_usd = 0.00012
    exchange.degraded = ["limits", "exact_cache", "limits"]
    exchange.warnings = ["dropped:seed"]
    exchange.response_headers["x-extra"] = "1"
    told = {name.decode(): value.decode() for name, value in headers.told(exchange)}
    assert told["x-tidegate-route"] == "support"
    assert told["x-tidegate-intent"] == "billing"
    assert told["x-tidegate-model"] == "fast"
    assert (told["x-tidegate-cache"], told["x-tidegate-cache-id"]) == ("semantic", "e1")
    assert told["x-tidegate-cache-similarity"] == "0.9877"
    assert told["x-tidegate-guardrails"] == "private=mask:2,attacks=allow"
    assert told["x-tidegate-cost-usd"] == "0.00012000"
    assert told["x-tidegate-degraded"] == "limits,exact_cache"
    assert told["x-tidegate-warning"] == "dropped:seed"
    assert told["x-extra"] == "1"


@given(st.text(max_size=30))
def test_a_name_from_a_config_cannot_break_a_header(name: str) -> None:
    """Line breaks become spaces; what Latin-1 does not have becomes a question mark."""
    exchange = World([]).exchange()
    exchange.route = name + "x"
    value = dict(headers.told(exchange))[b"x-tidegate-route"]
    assert b"\r" not in value
    assert b"\n" not in value


@pytest.mark.parametrize(
    ("wait", "seconds", "milliseconds"),
    [(0.2, "1", "200"), (1.0, "1", "1000"), (1.001, "2", "1001"), (86400.0, "60", "60000"), (-3.0, "0", "0")],
)
def test_a_wait_is_told_in_both_forms_rounded_up_and_bounded(wait: float, seconds: str, milliseconds: str) -> None:
    """Some SDKs sleep as long as they are told."""
    told = dict(headers.of_fault(RateLimited("Wait.", retry_after=wait)))
    assert (told[b"retry-after"], told[b"retry-after-ms"]) == (seconds.encode(), milliseconds.encode())


def test_where_waiting_is_in_vain_it_is_said() -> None:
    """A spent budget does not come back, a cache that has no answer has none a second later, and our own wrong credential
    stays wrong."""
    for fault in (BudgetSpent("Spent."), NotCached("Not there."), UpstreamRefusedUs("No.")):
        told = dict(headers.of_fault(fault))
        assert told.get(b"x-should-retry") == b"false", fault
        assert b"retry-after" not in told
