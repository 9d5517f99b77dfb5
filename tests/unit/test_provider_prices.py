"""Prices and costs: each token is paid for once, at its own class's price, and unknown is not free."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import config as configuration
from gateway.accounting.cost import cost_usd, target_cost
from gateway.commands.check import report_of, text_of
from gateway.configuring.problems import ConfigError
from gateway.core.events import Usage
from gateway.core.plan import Price, Target
from gateway.providers import catalog
from gateway.providers.build import plans
from gateway.providers.prices import price_of, table

PRICE = Price(input=1.0, cached_input=0.1, cache_write=1.25, output=10.0, reasoning=20.0)
COUNTS = st.integers(0, 10**7)


def test_each_class_has_its_price() -> None:
    """Fresh, cached and written input, spoken and reasoned output, each at its own price."""
    usage = Usage(
        input_tokens=1_000_000, cached_tokens=400_000, cache_write_tokens=100_000,
        output_tokens=200_000, reasoning_tokens=50_000,
    )  # fmt: skip
    assert cost_usd(usage, PRICE) == pytest.approx(0.5 * 1 + 0.4 * 0.1 + 0.1 * 1.25 + 0.15 * 10 + 0.05 * 20)


def test_classes_without_a_price_fall_back() -> None:
    """Cached and written tokens cost as input, reasoning as output, when nothing else is said."""
    usage = Usage(input_tokens=10, cached_tokens=5, cache_write_tokens=2, output_tokens=7, reasoning_tokens=3)
    assert cost_usd(usage, Price(input=1, output=2)) == pytest.approx((10 * 1 + 7 * 2) / 1e6)
    assert cost_usd(usage, Price(input=1, output=2, cached_input=0)) == pytest.approx((5 * 1 + 7 * 2) / 1e6)


@given(COUNTS, COUNTS, COUNTS, COUNTS, COUNTS)
def test_no_token_is_paid_twice(fresh: int, cached: int, written: int, spoken: int, reasoned: int) -> None:
    """At one price for all classes the cost is tokens times price, also for counts that contradict each other."""
    usage = Usage(
        input_tokens=fresh,
        cached_tokens=cached,
        cache_write_tokens=written,
        output_tokens=spoken,
        reasoning_tokens=reasoned,
    )
    flat = Price(input=3, cached_input=3, cache_write=3, output=3, reasoning=3)
    assert cost_usd(usage, flat) == pytest.approx(3 * (fresh + spoken) / 1e6)
    assert cost_usd(usage, PRICE) >= 0


def test_an_unknown_cost_is_not_nothing() -> None:
    """Without a price or without usage there is no cost, rather than a cost of zero."""
    priced = Target(provider="p", model="m", price=PRICE)
    usage = Usage(input_tokens=1_000_000)
    assert target_cost(usage, priced) == pytest.approx(1.0)
    assert target_cost(None, priced) is None
    assert target_cost(usage, Target(provider="p", model="m")) is None
    assert target_cost(usage, None) is None


def test_the_table_is_dated_and_sound() -> None:
    """The table says when it was checked; its kinds exist, and no cached token costs more than a fresh one."""
    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", table().version)
    assert set(table().prices) <= set(catalog.types())
    for models in table().prices.values():
        for price in models.values():
            assert 0 <= (price.cached_input or 0) <= price.input
            assert price.output >= 0


@pytest.mark.parametrize(
    ("kind", "model", "output"),
    [
        ("openai", "gpt-4o-mini", 0.6),
        ("openai", "gpt-4o-2024-08-06", 10),
        ("openai", "gpt-4o-2024-05-13", 15),
        ("anthropic", "claude-haiku-4-5-20251001", 5),
        ("openai", "gpt-4o-mini-tuned", None),
        ("vllm", "gpt-4o", None),
        ("openai", "", None),
    ],
)
def test_a_price_is_found_by_kind_and_model(kind: str, model: str, output: float | None) -> None:
    """Dated names have the undated price unless they have their own; nothing is guessed."""
    price = price_of(kind, model)
    assert (price and price.output) == output


CONFIG = """
version: 1
providers:
  o: {type: openai, api_key: k}
  g: {type: vllm, base_url: "http://127.0.0.1:9/v1"}
models:
  known: {targets: [{provider: o, model: gpt-4o-mini}]}
  mine: {targets: [{provider: g, model: own}], price: {input: 1, output: 2}}
  new: {targets: [{provider: o, model: gpt-4o}, {provider: g, model: own}]}
"""


def test_check_says_how_old_the_table_is_and_what_it_does_not_know(tmp_path: Path) -> None:
    """The table's date, and each target without a price: neither given nor in the table."""
    report = report_of(configuration.read(CONFIG, tmp_path, {}))
    assert report["prices"] == {"table": table().version, "own_table": None, "unpriced": ["new: own at g"]}
    text = "\n".join(text_of(report))
    assert f"the built-in table is of {table().version}" in text
    assert "unpriced: new: own at g" in text


def test_unpriced_may_be_refused(tmp_path: Path) -> None:
    """Then a target that nobody can price stops the start, and the message says what to do."""
    with pytest.raises(ConfigError) as caught:
        configuration.read(CONFIG + "accounting: {unpriced: refuse}\n", tmp_path, {})
    assert [problem.path for problem in caught.value.problems] == ["models.new.targets[1].price"]
    assert "accounting.unpriced: allow" in caught.value.problems[0].message
    priced = CONFIG.replace(
        "{provider: g, model: own}]}\n", "{provider: g, model: own, price: {input: 0, output: 0}}]}\n"
    )
    assert configuration.read(priced + "accounting: {unpriced: refuse}\n", tmp_path, {})


OWN = """
version: "2031-05-01"
prices:
  openai: {gpt-4o-mini: {input: 7, output: 8}, gpt-4o: {input: 9, output: 10}}
  acme: {own: {input: 1, output: 1}}
windows:
  openai: {gpt-4o-mini: 4096}
"""
WITH_OWN = CONFIG.replace("type: vllm,", "type: ./acme.yaml,") + "accounting: {prices: ./mine.yaml}\n"


def test_a_table_of_ones_own_wins_over_the_built_in_one(tmp_path: Path) -> None:
    """By kind and model, dated names included; what a model says itself still wins; vendors' own files have a kind too."""
    (tmp_path / "mine.yaml").write_text(OWN)
    (tmp_path / "acme.yaml").write_text("dialect: openai\nkey: optional")
    text = WITH_OWN.replace("model: gpt-4o}", "model: gpt-4o-2024-08-06}")
    config = configuration.read(text, tmp_path, {})
    made = plans(config.models, config.providers)
    assert [target.price and target.price.output for target in made["known"].targets] == [8]
    assert made["known"].targets[0].context_window == 4096
    assert [target.price and target.price.output for target in made["mine"].targets] == [2]
    assert [target.price and target.price.output for target in made["new"].targets] == [10, 1]
    report = report_of(config)
    assert (report["prices"]["own_table"], report["prices"]["unpriced"]) == ("2031-05-01", [])
    assert "accounting.prices is of 2031-05-01" in "\n".join(text_of(report))


@pytest.mark.parametrize(
    ("own", "said"),
    [
        (None, "cannot read mine.yaml: No such file"),
        ("{", "mine.yaml is not valid YAML"),
        ("prices: {}", "missing required field `version`"),
        (
            "version: v\nprices: {opnai: {m: {input: 1, output: 1}}}",
            "'opnai' is not a kind of provider (did you mean 'openai'?)",
        ),
        ("version: v\nprices: {openai: {m: {input: 1}}}", "missing required field `output`"),
        ("version: v\nprices: {openai: {m: {input: -1, output: 1}}}", "the price of 'm' is negative"),
    ],
)
def test_a_wrong_table_is_told(tmp_path: Path, own: str | None, said: str) -> None:
    """At `accounting.prices`, with what is wrong in it."""
    (tmp_path / "acme.yaml").write_text("dialect: openai\nkey: optional")
    if own is not None:
        (tmp_path / "mine.yaml").write_text(own)
    with pytest.raises(ConfigError) as caught:
        configuration.read(WITH_OWN, tmp_path, {})
    (problem,) = caught.value.problems
    assert problem.path == "accounting.prices"
    assert said in problem.message
