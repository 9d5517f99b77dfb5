"""Every mistake in a route's `match` and `intents` is found, named by its path, with a suggestion where one is near."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from routing.config import (
    ContextConfig,
    IntentsConfig,
    RouteMatch,
    Rules,
    Then,
    TiersConfig,
    default_model,
    overlaps,
    planning_problems,
    problems,
)

HERE = Path(__file__).parent
MODELS = ["smart", "fast"]
EXAMPLES = {"reset": ["I forgot my password"], "billing": ["I was charged twice"]}


def found(intents: IntentsConfig | None, match: RouteMatch | None = None, base: Path = HERE) -> dict[str, str]:
    return dict(problems("support", match or RouteMatch(models=["support"]), intents, MODELS, base))


def intents(**fields: Any) -> IntentsConfig:
    return msgspec.convert({"examples": EXAMPLES, "then": {"reset": {"model": "fast"}}} | fields, IntentsConfig)


def test_the_documented_example_is_valid(tmp_path: Path) -> None:
    """The `support` route as the documentation shows it has no problem."""
    (tmp_path / "support.yaml").write_text(
        "reset_password: [I forgot my password]\nbilling_error: [I was charged twice]\ntechnical: [It crashes]\n"
    )
    config = intents(
        examples="support.yaml",
        below=0.5,
        margin=0.1,
        then={
            "reset_password": {"answer": "You can reset your password at https://example.com/reset."},
            "billing_error": {"handoff": "billing-team"},
            "technical": {"model": "smart"},
            "out_of_scope": {"answer": "I can help with your account, billing and technical questions."},
            "unclear": {"clarify": "Do you mean {first} or {second}?"},
        },
    )
    assert not found(config, base=tmp_path)


@pytest.mark.parametrize(
    ("fields", "path", "says"),
    [
        ({"below": 1.5}, "below", "between 0 and 1"),
        ({"margin": -0.1}, "margin", "between 0 and 1"),
        ({"budget": 0.0}, "budget", "between 1ms and 5s"),
        ({"default": "smrt"}, "default", "did you mean 'smart'"),
        ({"then": {"reset": {"model": "fsat"}}}, "then.reset.model", "did you mean 'fast'"),
        ({"then": {"rest": {"model": "fast"}}}, "then.rest", "did you mean 'reset'"),
        ({"then": {"reset": {}}}, "then.reset", "exactly one"),
        ({"then": {"reset": {"model": "fast", "answer": "x"}}}, "then.reset", "exactly one"),
        ({"then": {"reset": {"answer": " "}}}, "then.reset.answer", "empty"),
        ({"then": {"reset": {"action": "two words"}}}, "then.reset.action", "so that it can be a header"),
        ({"then": {"reset": {"model": "fast", "reason": "x"}}}, "then.reset.reason", "beside `handoff`"),
        ({"then": {"reset": {"handoff": "t", "reason": "a\nb"}}}, "then.reset.reason", "one line"),
        ({"then": {"unclear": {"clarify": "{frist}?"}}}, "then.unclear.clarify", "{first} and {second}"),
        ({"then": {"unclear": {"clarify": "{first!r}?"}}}, "then.unclear.clarify", "{first} and {second}"),
        ({"then": {"unclear": {"clarify": "{first"}}}, "then.unclear.clarify", "not a template"),
        ({"then": {"unclear": {"clarify": "{0}"}}}, "then.unclear.clarify", "{first} and {second}"),
        ({"examples": {"reset": []}}, "examples", "reset: expected a list of example utterances"),
        ({"examples": {"reset": [" "]}}, "examples", "reset[0]"),
        ({"examples": {"unclear": ["hm"]}}, "examples", "no examples of its own"),
        ({"examples": {}}, "examples", "no examples"),
        ({"examples": "nowhere.yaml"}, "examples", "cannot read nowhere.yaml"),
    ],
)
def test_each_mistake_is_named_by_its_path(fields: dict[str, Any], path: str, says: str) -> None:
    """One wrong value is one problem at its own path, and the message says what is wrong."""
    told = found(intents(**fields))
    assert says in told[f"routes.support.intents.{path}"]


def test_a_handoff_may_have_words_of_its_own() -> None:
    """`handoff` says who takes over and `answer` what the user is told; nothing else goes together."""
    assert not found(
        intents(then={"reset": {"handoff": "team", "answer": "One moment."}, "billing": {"model": "fast"}})
    )


def test_a_name_that_is_no_model_needs_intents() -> None:
    """A route may answer to a name of its own only if its intents say what answers."""
    told = found(None, RouteMatch(models=["smrt"]))
    assert "did you mean 'smart'" in told["routes.support.match.models[0]"]
    told = found(intents(then={"reset": {"answer": "x"}}))
    assert "support" in told["routes.support.intents.default"]
    assert not found(intents(then={"reset": {"answer": "x"}}, default="smart"))
    assert not found(intents(then={"reset": {"answer": "x"}}), RouteMatch(models=["smart"]))


def test_match_names_are_plain() -> None:
    """Empty and repeated names in `match` are found."""
    told = found(intents(), RouteMatch(models=["a", "", "a"]))
    assert "empty" in told["routes.support.match.models[1]"]
    assert "twice" in told["routes.support.match.models[2]"]


def test_two_routes_cannot_claim_one_model() -> None:
    """The second claim is the problem, and names the first."""
    told = dict(overlaps({"a": RouteMatch(models=["m"]), "b": RouteMatch(models=["n", "m"]), "default": None}))
    assert told == {"routes.b.match.models[1]": "'m' is already served by route 'a'"}


def test_the_default_model_is_the_first_that_an_action_names() -> None:
    """Without `default`, the first model under `then` answers what no action settles."""
    assert default_model(intents(then={"reset": {"answer": "x"}, "billing": {"model": "fast"}})) == "fast"
    assert default_model(intents(default="smart")) == "smart"
    assert default_model(intents(then={})) is None


def test_unknown_keys_are_errors() -> None:
    """A misspelt key is not taken for nothing."""
    for struct in (RouteMatch, Then, IntentsConfig, ContextConfig):
        with pytest.raises(msgspec.ValidationError, match="unknown field"):
            msgspec.convert({"examples": {}, "modle": "x"}, struct)


@pytest.mark.parametrize(
    ("rules", "path", "says"),
    [
        ({"tiers": {"small": "fsat", "large": "smart"}}, "tiers.small", "did you mean 'fast'"),
        ({"tiers": {"small": "fast", "large": "smrt"}}, "tiers.large", "did you mean 'smart'"),
        ({"tiers": {"small": "fast", "large": "smart", "above": 6}}, "tiers.above", "between 0 and 1"),
        ({"tiers": {"small": "fast", "large": "smart", "forget": 0.0}}, "tiers.forget", "more than 0"),
        ({"tiers": {"small": "fast", "large": "smart"}, "match": None}, "tiers", "give the route a match"),
        ({"context": {"reserve": -1}}, "context.reserve", "between 0 and"),
        ({"context": {"keep": 0}}, "context.keep", "latest user turn"),
        ({"baseline": "smrt"}, "baseline", "did you mean 'smart'"),
    ],
)
def test_each_mistake_in_planning_is_named_by_its_path(rules: dict[str, Any], path: str, says: str) -> None:
    """Tiers, the context rule and the baseline are checked before anything starts."""
    made = msgspec.convert({"match": {"models": ["auto"]}} | rules, Rules)
    assert says in dict(planning_problems("own", made, MODELS))[f"routes.own.{path}"]


def test_tiers_give_a_route_a_name_of_its_own() -> None:
    """A name that is no model is fine where tiers choose, and nothing is wrong with such a route."""
    tiers = TiersConfig(small="fast", large="smart")
    match = RouteMatch(models=["auto"])
    assert not list(problems("own", match, None, MODELS, HERE, tiers))
    assert not list(problems("own", match, intents(then={"reset": {"answer": "x"}}), MODELS, HERE, tiers))
    assert not list(planning_problems("own", Rules(match=match, tiers=tiers, baseline="smart"), MODELS))
