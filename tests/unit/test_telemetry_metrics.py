"""Metrics: counted right, read when scraped, and with labels that nobody outside can multiply."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from gateway.core.events import Usage
from gateway.core.receipt import Receipt
from gateway.core.verdict import Verdict
from gateway.telemetry.metrics import Metrics
from tests.fixtures.receipts import TEXT, receipt


def recorded(*given: Receipt) -> Metrics:
    metrics = Metrics()

    async def record() -> None:
        for one in given:
            await metrics.record(one)

    asyncio.run(record())
    return metrics


def samples(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """(name, label values in order of their names) to value, without times of creation."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.page().decode())
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def test_a_receipt_is_counted_in_each_metric_once() -> None:
    """Requests, attempts, tokens, spend, look-ups, verdicts, intents."""
    found = samples(recorded(receipt(), receipt()))
    assert found["tidegate_requests_total", "chat", "ok", "default", "200"] == 2
    assert found["tidegate_attempts_total", "upstream_failed", "up"] == 2
    assert found["tidegate_attempts_total", "ok", "up"] == 2
    assert found["tidegate_tokens_total", "input", "fast", "up"] == 2400
    assert found["tidegate_tokens_total", "output", "fast", "up"] == 160
    assert found["tidegate_tokens_total", "cached", "fast", "up"] == 2000
    assert found["tidegate_cost_usd_total", "fast", "up"] == 2 * 0.000153
    assert found["tidegate_cache_lookups_total", "miss", "default", "exact"] == 2
    assert found["tidegate_guardrail_verdicts_total", "mask", "private"] == 2
    assert found["tidegate_intents_total", "billing", "default"] == 2
    assert found["tidegate_request_duration_seconds_count", "ok", "default"] == 2
    assert found["tidegate_ttft_seconds_sum", "default"] == 2 * 0.052
    assert found["tidegate_overhead_seconds_bucket", "0.008", "default"] == 2
    assert found["tidegate_overhead_seconds_bucket", "0.004", "default"] == 0


def test_histograms_hold_every_value_in_the_right_bucket() -> None:
    """A value on a bound belongs to that bucket, one beyond all bounds only to +Inf."""
    found = samples(recorded(*(receipt(duration=int(ms * 1e6)) for ms in (10, 10.1, 200_000))))
    bucket = "tidegate_request_duration_seconds_bucket"
    counts = [found[bucket, bound, "ok", "default"] for bound in ("0.01", "0.02", "81.92", "+Inf")]
    assert counts == [1, 2, 2, 3]


def test_tiers_and_results_of_caches() -> None:
    """A semantic hit is a hit of the semantic tier; a bypass is no look-up of any tier."""
    found = samples(recorded(*(receipt(cache=result) for result in ("hit", "semantic", "miss", "bypass"))))
    told = {labels[1:]: value for labels, value in found.items() if labels[0] == "tidegate_cache_lookups_total"}
    assert told == {
        ("hit", "default", "exact"): 1,
        ("hit", "default", "semantic"): 1,
        ("miss", "default", "exact"): 1,
        ("bypass", "default", "none"): 1,
    }


def test_an_answer_without_a_price_is_counted_and_costs_nothing() -> None:
    """An unknown cost is a metric of its own, not a spend of 0."""
    made = receipt()
    unpriced = tuple(msgspec.structs.replace(attempt, cost_usd=None) for attempt in made.attempts)
    found = samples(recorded(receipt(cost_usd=None, attempts=unpriced)))
    assert found["tidegate_unpriced_total", "fast", made.attempts[-1].provider] == 1
    assert not any(name[0] == "tidegate_cost_usd_total" for name in found)


def test_what_each_provider_cost_is_its_own() -> None:
    """Of two providers that were both paid for one answer, neither is told the other's spend."""
    last = receipt().attempts[-1]
    both = tuple(
        msgspec.structs.replace(last, provider=name, cost_usd=cost) for name, cost in (("up", 2.0), ("two", 3.0))
    )
    found = samples(recorded(receipt(attempts=both, cost_usd=5.0)))
    spent = {labels[2]: value for labels, value in found.items() if labels[0] == "tidegate_cost_usd_total"}
    assert spent == {"up": 2.0, "two": 3.0}


def test_a_check_that_did_not_run_is_counted_with_its_reason() -> None:
    """Skipped is not passed."""
    found = samples(recorded(receipt(verdicts=(Verdict("attacks", "not_scanned", "input", reason="timeout"),))))
    assert found["tidegate_guardrail_not_scanned_total", "attacks", "timeout"] == 1


def test_flaws_are_counted_before_and_after_a_repair() -> None:
    """One for each kind that an answer had; a verdict without any counts none."""
    verdicts = (
        Verdict("json", "block", "output", 2, reason="audit,fenced>ok,enum>enum"),
        Verdict("json", "flag", "output", reason="audit"),
    )
    found = samples(recorded(receipt(verdicts=verdicts)))
    assert found["tidegate_guardrail_flaws_total", "ok", "fenced", "json"] == 1
    assert found["tidegate_guardrail_flaws_total", "enum", "enum", "json"] == 1
    assert len([labels for labels in found if labels[0] == "tidegate_guardrail_flaws_total"]) == 2


def test_a_request_that_was_never_understood_is_counted() -> None:
    """No route, no model, no attempts: it still ended."""
    bare = receipt(route="", model="", served_model="", attempts=(), usage=None, verdicts=(), intent="", ttft=None, overhead=None, cost_usd=None, outcome="client_error", status=400)  # fmt: skip
    found = samples(recorded(bare))
    assert found["tidegate_requests_total", "chat", "client_error", "none", "400"] == 1


def test_why_no_cache_answered_is_counted() -> None:
    """Rules, vetoes and shadow by name; a hit counts none, whatever it notes."""
    made = [
        receipt(cache=cache, cache_reason=reason)
        for cache, reason in (("miss", "shadow"), ("bypass", "semantic:private"), ("hit", "coalesced"), ("miss", ""))
    ]
    found = samples(recorded(*made))
    assert found["tidegate_cache_reasons_total", "shadow", "default"] == 1
    assert found["tidegate_cache_reasons_total", "semantic:private", "default"] == 1
    assert len([labels for labels in found if labels[0] == "tidegate_cache_reasons_total"]) == 2


OUTSIDE = ("id", "key_id", "user", "session", "tenant", "trace_id", "error")


@given(st.lists(st.fixed_dictionaries(dict.fromkeys((*OUTSIDE, "tags"), TEXT)), min_size=1, max_size=5))
def test_what_comes_from_outside_is_no_label(many: list[dict[str, str]]) -> None:
    """Whatever users, sessions, keys, tags and upstreams call themselves, the page has the same series."""
    made = [receipt(**{**told, "tags": (told["tags"],)}) for told in many]
    named = [
        msgspec.structs.replace(one, attempts=tuple(_renamed(attempt, told["user"]) for attempt in one.attempts))
        for one, told in zip(made, many, strict=True)
    ]
    assert set(samples(recorded(*named))) == set(samples(recorded(receipt())))


def _renamed(attempt: object, text: str) -> object:
    return msgspec.structs.replace(
        attempt,
        response_model=text,
        response_id=text,
        upstream_id=text,
        finish_reasons=(text,),
        endpoint=text,
        model=text,
    )  # type: ignore[type-var]


def test_a_nonsense_count_of_an_upstream_breaks_nothing() -> None:
    """A negative count is not counted; the rest of the receipt is."""
    made = receipt()
    odd = msgspec.structs.replace(made.attempts[-1], usage=Usage(-5, 7))
    found = samples(recorded(receipt(attempts=(odd,))))
    assert found["tidegate_tokens_total", "output", "fast", "up"] == 7
    assert found["tidegate_tokens_total", "input", "fast", "up"] == 0
    assert found["tidegate_guardrail_verdicts_total", "mask", "private"] == 1


def test_readings_are_taken_when_scraped() -> None:
    """Gauges and counters that live elsewhere show what they are now; `_total` makes a counter."""
    metrics, level = Metrics(), {"": 1.0}
    metrics.watch(
        lambda: {"tidegate_inflight_requests": level, "tidegate_receipts_dropped_total": {"traces": 3.0}},
        {"tidegate_receipts_dropped_total": "kind"},
    )
    level[""] = 7.0
    families = {family.name: family for family in text_string_to_metric_families(metrics.page().decode())}
    assert families["tidegate_inflight_requests"].type == "gauge"
    assert families["tidegate_inflight_requests"].samples[0].value == 7
    assert families["tidegate_receipts_dropped"].type == "counter"
    assert families["tidegate_receipts_dropped"].samples[0][:3] == (
        "tidegate_receipts_dropped_total",
        {"kind": "traces"},
        3.0,
    )


def test_connections_that_never_became_a_request() -> None:
    """Counted by why."""
    metrics = Metrics()
    metrics.reject("headers_too_large")
    assert samples(metrics)["tidegate_rejected_connections_total", "headers_too_large"] == 1


def test_two_gateways_in_one_process_do_not_share_a_page() -> None:
    """Each has a registry of its own."""
    one, _two = recorded(receipt()), Metrics()
    assert samples(one)
    assert not _names(samples(_two))


def _names(found: Iterable[tuple[str, ...]]) -> set[str]:
    return {name[0] for name in found}


def test_tiers_and_the_baseline_are_counted_by_route() -> None:
    """What the baseline would have cost, and what those exchanges did; others are in neither."""
    found = samples(
        recorded(
            receipt(tier="small", cost_usd=0.001, baseline_usd=0.01),
            receipt(tier="large", cost_usd=None, attempts=(), baseline_usd=0.02),
            receipt(cost_usd=5.0),
        )
    )
    assert found["tidegate_tiers_total", "default", "small"] == 1
    assert found["tidegate_baseline_usd_total", "default"] == 0.01 + 0.02
    assert found["tidegate_baseline_spent_usd_total", "default"] == 0.001
