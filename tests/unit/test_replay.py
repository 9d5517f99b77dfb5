"""A decision record put to another configuration: what would be decided now, and what nobody can know."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway import config as configuration
from gateway.commands.replay import Replay, lines_of, replayed
from gateway.core.events import Usage
from gateway.core.receipt import Attempt, Receipt
from gateway.core.verdict import Verdict

RECORD = Receipt(
    id="tg-1", opened=0, duration=1, outcome="ok", status=200, dialect="openai", operation="chat", route="default",
    model="fast", served_model="fast", cache="miss", usage=Usage(1000, 100), cost_usd=0.5,
    verdicts=(Verdict("private", "allow", "input"),),
    attempts=(Attempt("old", "a", "10.0.0.1:8000", 0, 1, "ok"),),
)  # fmt: skip
PRICE = {"input": 10.0, "output": 20.0}
BASE: dict[str, Any] = {
    "version": 1,
    "providers": {
        name: {"type": "openai-compatible", "base_url": f"http://127.0.0.1/{name}"} for name in ("one", "two")
    },
    "models": {
        "fast": {
            "targets": [{"provider": "one", "model": "a", "weight": 3}, {"provider": "two", "model": "b", "weight": 1}],
            "on_failure": ["large"],
            "on_content_policy": ["large"],
            "price": PRICE,
        },
        "large": {"targets": [{"provider": "two", "model": "c"}], "context_window": 900},
    },
    "guardrails": {
        name: {
            "use": "phrases",
            "on": ["input"],
            "deny": ["bluebird"],
            "action": "block",
            "on_error": "closed",
            "deadline": "1s",
        }
        for name in ("words", "private")
    },
}


def put(tmp_path: Path, record: Receipt = RECORD, **sections: Any) -> Replay:
    return replayed(record, configuration.of_value({**BASE, **sections}, tmp_path))


def test_the_plan_and_the_price_are_the_configurations(tmp_path: Path) -> None:
    """In order, with the shares of weights, the models for each cause, and what the same tokens would cost."""
    told = put(tmp_path)
    assert told.plan == ("fast: one/a (75%), two/b (25%)", "large: two/c")
    assert (told.route, told.served, told.decided) == ("default", True, "the model asked for")
    assert (told.on_overflow, told.on_content_policy) == ((), ("large",))
    assert told.cost_usd == pytest.approx(0.012)
    assert told.then["calls"] == ["old/a"]


def test_checks_that_came_and_went_are_named(tmp_path: Path) -> None:
    """By name: what they would find nobody can say."""
    told = put(tmp_path, routes={"default": {"guardrails": ["words"]}})
    assert (told.checks, told.new_checks, told.gone_checks) == (("words",), ("words",), ("private",))
    assert "no text" in told.unknown[-1]


def test_another_route_is_told(tmp_path: Path) -> None:
    """A model that a route of its own serves now, with its caches."""
    routes = {"quick": {"match": {"models": ["fast"]}, "cache": {"partition": "key", "exact": {"ttl": "5m"}}}}
    told = put(tmp_path, routes=routes)
    assert told.route == "quick"
    assert any("key" in line for line in told.caches)
    assert "  route     quick (was default)" in lines_of(told, "new.yaml")


def test_a_model_that_is_gone_is_told(tmp_path: Path) -> None:
    """It would be a 404, and has no plan."""
    told = put(tmp_path, models={"large": BASE["models"]["large"]})
    assert (told.served, told.plan) == (False, ())
    assert any("404 model_not_found" in line for line in lines_of(told, "new.yaml"))


@pytest.mark.parametrize(("above", "plan"), [(0.5, "large"), (0.7, "fast")])
def test_a_tier_is_decided_again_by_its_score(tmp_path: Path, above: float, plan: str) -> None:
    """The record has the score; the threshold is the new one."""
    routes = {"auto": {"match": {"models": ["auto"]}, "tiers": {"small": "fast", "large": "large", "above": above}}}
    record = msgspec.structs.replace(RECORD, model="auto", tier="small", tier_score=0.6)
    told = put(tmp_path, record, routes=routes)
    assert told.plan[0].startswith(plan)
    unscored = put(tmp_path, msgspec.structs.replace(record, tier_score=None), routes=routes)
    assert any("complexity" in what for what in unscored.unknown)


def test_an_intent_is_taken_from_the_record(tmp_path: Path) -> None:
    """Its action and its threshold are the new ones; without one in the record nobody can say."""
    examples = {"billing": ["my bill is wrong"] * 8, "refund": ["give me my money back"] * 8}
    then = {"billing": {"model": "large"}, "out_of_scope": {"answer": "I cannot help with that."}}
    routes = {"default": {"intents": {"examples": examples, "then": then, "below": 0.5}}}
    record = msgspec.structs.replace(RECORD, intent="billing", intent_score=0.8)
    assert put(tmp_path, record, routes=routes).plan[0].startswith("large")
    unsure = put(tmp_path, msgspec.structs.replace(record, intent_score=0.4), routes=routes)
    assert (unsure.plan, "out_of_scope" in unsure.decided) == ((), True)
    assert any("intent" in what for what in put(tmp_path, routes=routes).unknown)


def test_a_prompt_that_would_not_fit_is_told(tmp_path: Path) -> None:
    """By the tokens that were counted then."""
    record = msgspec.structs.replace(RECORD, model="large")
    assert any("1000 tokens, more than large (900)" in what for what in put(tmp_path, record).unknown)
    uncounted = msgspec.structs.replace(RECORD, usage=None)
    assert any("no count" in what for what in put(tmp_path, uncounted).unknown)


def test_its_lines_are_plain(tmp_path: Path) -> None:
    """For people: then beside now, and what cannot be known last."""
    lines = lines_of(put(tmp_path), "new.yaml")
    assert lines[0] == "replayed against new.yaml"
    assert "  cost      0.01200000 USD for the same tokens, 0.50000000 USD then" in lines
    assert lines[-1].strip().startswith("what checks would find")
