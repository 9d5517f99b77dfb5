"""The baseline: the same tokens at one model's price, whoever answered."""

from __future__ import annotations

import pytest

from gateway.accounting.cost import cost_usd
from gateway.core.answer import Answer, Refusal
from gateway.core.events import Usage
from gateway.core.exchange import CacheNote, Exchange
from gateway.core.plan import Price
from gateway.core.response import said
from gateway.core.tokens import estimate
from routing.baseline import Baseline
from tests.unit.test_routing_fitting import chat
from tests.unit.test_routing_plans import exchange as bare

PRICE = Price(input=10.0, output=20.0)


def ended(exchange: Exchange) -> float | None:
    exchange.request = chat("How do I reset my password?")
    Baseline(PRICE, cost_usd).watch(exchange)
    for undo in exchange.cleanup:
        undo()
    return exchange.baseline_usd


def test_the_answers_tokens_at_the_baselines_price() -> None:
    """A thousand in and a hundred out, at ten and twenty a million."""
    exchange = bare("m")
    exchange.usage = Usage(input_tokens=1000, output_tokens=100)
    assert ended(exchange) == pytest.approx(0.012)


def test_a_cached_answers_tokens_count() -> None:
    """What the cache saved is what the baseline would have used."""
    exchange = bare("m")
    exchange.cache = CacheNote(result="hit", saved=Usage(input_tokens=1000, output_tokens=100))
    assert ended(exchange) == pytest.approx(0.012)


@pytest.mark.parametrize("kind", ["canned", "clarify", "handoff"])
def test_a_reply_without_a_model_is_estimated(kind: str) -> None:
    """The question's tokens and those of what was said, by the estimate."""
    exchange = bare("m")
    words = "You can reset it on the login page."
    exchange.answer = Answer(kind, said(words, id="i", model="m", created=0))  # type: ignore[arg-type]
    asked, answered = estimate(chat("How do I reset my password?")), 10
    assert ended(exchange) == pytest.approx((asked * 10 + answered * 20) / 1e6)


def test_a_refusal_is_not_compared() -> None:
    """The baseline would not have been asked either."""
    exchange = bare("m")
    exchange.answer = Answer("refused", refusal=Refusal("attacks", "injection", "no"))
    assert ended(exchange) is None
