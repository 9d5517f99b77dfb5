"""A route's `match:` and `intents:` sections, and what can be wrong with them."""

from __future__ import annotations

import re
import string
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from gateway.configuring.problems import did_you_mean
from gateway.core.units import Duration
from routing.examples import OUT_OF_SCOPE, UNCLEAR, Examples, ExamplesError, load_examples

Found = tuple[str, str]
"""The path of a config key, and what is wrong with its value."""

_LABEL = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_REASON = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,98}[\x21-\x7e])?")
_ACTIONS = ("answer", "model", "handoff", "clarify")


class RouteMatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which requests a route serves: those that ask for one of these models. A name that is not under `models:` is the
    route's own, and the route's intents decide what answers it."""

    models: list[str] = []


class Then(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happens to an intent: exactly one of `answer`, `model`, `handoff` and `clarify`, but `handoff` may come with an
    `answer` to say, and `action` with any of them or alone."""

    answer: str | None = None
    """Said as it stands; no model is called."""
    model: str | None = None
    """A key of `models:`."""
    handoff: str | None = None
    """Who takes over, for the application: told in `x-tidegate-handoff`."""
    reason: str | None = None
    """Why, for who takes over and for `x-tidegate-handoff-reason`. Absent: `intent:NAME`. Only with `handoff`."""
    action: str | None = None
    """What the application is to do next: a name told in `x-tidegate-action`, beside what happens here or alone."""
    clarify: str | None = None
    """A question, asked once in a conversation. `{first}` and `{second}` are the two likeliest intents' names."""


class IntentsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a route does by what the user wants."""

    examples: str | dict[str, list[str]]
    """A YAML file of intent -> example utterances, relative to the config file; or that mapping itself. Examples under
    `out_of_scope` show what is not meant. Eight or more of every intent classify better than fewer."""
    below: float = 0.5
    """Confidence under this is `out_of_scope`. At 0.5, 3 to 5 % of good questions are refused."""
    margin: float = 0.1
    """When the best two intents are closer than this, `unclear`. 0.1 is 55 to 45."""
    then: dict[str, Then] = {}
    """By intent, `out_of_scope` or `unclear`. What is not here goes to the model that was asked for."""
    default: str | None = None
    """The model for what `then` does not settle, when the name asked for is not a model. Absent: the first in `then`."""
    budget: Duration | None = None
    """Time for embedding one question. After it the request goes on without an intent. Absent: 30ms, or `embedding.deadline`
    where a provider embeds."""


class ContextConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happens to a request that does not fit into its model's context window, retrieved text included. Models say
    theirs in `context_window`. Bytes bound tokens, so what surely fits is not counted; the rest is estimated."""

    on_overflow: Literal["reroute", "truncate", "reject"] | None = None
    """`reroute`: only models that can hold it are asked, `on_context_overflow` after the others. `truncate`: the oldest
    turns are left out, then retrieved text is cut from its end, until the first model can hold it. `reject`: 400 with
    the numbers. Absent: as `reroute` where every model of the plan has a known window, but nothing is refused: the
    upstream has the last word."""
    reserve: int = 1024
    """Tokens kept for the answer of a request that does not say how long it may be."""
    keep: int = 1
    """For `truncate`: the newest user turns, with all that followed each, that are never left out."""


class TiersConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Two models, chosen by how hard a request looks (`tidegate router explain` says why). A conversation that has risen to
    the large one stays there."""

    small: str
    """A key of `models:`."""
    large: str
    above: float = 0.6
    """Scores above this are for the large model. 0 to 1."""
    forget: Duration = Duration(3600.0)
    """Quiet for this long, a conversation is new."""


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """A route's sections that say which model answers."""

    match: RouteMatch | None = None
    intents: IntentsConfig | None = None
    tiers: TiersConfig | None = None
    context: ContextConfig = ContextConfig()
    baseline: str | None = None


def problems(
    route: str,
    match: RouteMatch | None,
    intents: IntentsConfig | None,
    models: Collection[str],
    base: Path,
    tiers: TiersConfig | None = None,
) -> Iterator[Found]:
    """Everything wrong with one route's `match` and `intents`. `models`: the aliases; `base`: the config file's folder."""
    path = f"routes.{route}"
    asked = match.models if match is not None else []
    for at, name in enumerate(asked):
        if not name:
            yield f"{path}.match.models[{at}]", "is empty"
        elif name in asked[:at]:
            yield f"{path}.match.models[{at}]", f"{name!r} is listed twice"
        elif intents is None and tiers is None and name not in models:
            yield (
                f"{path}.match.models[{at}]",
                _no_model(name, models) + "; only a route with intents or tiers may have a name of its own",
            )
    if intents is None:
        return
    where = f"{path}.intents"
    for field in ("below", "margin"):
        value = getattr(intents, field)
        if not 0.0 <= value <= 1.0:
            yield f"{where}.{field}", f"{value} is not between 0 and 1"
    if intents.budget is not None and not 0.001 <= intents.budget <= 5.0:
        yield f"{where}.budget", f"{intents.budget:g}s is not between 1ms and 5s"
    if intents.default is not None and intents.default not in models:
        yield f"{where}.default", _no_model(intents.default, models)
    examples = None
    try:
        examples = load_examples(intents.examples, base)
    except ExamplesError as error:
        yield f"{where}.examples", str(error)
    for name, then in intents.then.items():
        yield from _then(f"{where}.then.{name}", name, then, models, examples)
    nameless = [name for name in asked if name not in models]
    if nameless and default_model(intents) is None and tiers is None:
        yield (
            f"{where}.default",
            f"missing: {nameless[0]!r} is not a model, so say which model answers what `then` does not settle",
        )


def planning_problems(route: str, rules: Rules, models: Collection[str]) -> Iterator[Found]:
    """Everything wrong with one route's `tiers`, `context` and `baseline`."""
    path, tiers, context = f"routes.{route}", rules.tiers, rules.context
    if tiers is not None:
        for field in ("small", "large"):
            if getattr(tiers, field) not in models:
                yield f"{path}.tiers.{field}", _no_model(getattr(tiers, field), models)
        if not 0.0 <= tiers.above <= 1.0:
            yield f"{path}.tiers.above", f"{tiers.above} is not between 0 and 1"
        if tiers.forget <= 0:
            yield f"{path}.tiers.forget", "must be more than 0"
        if rules.match is None or not rules.match.models:
            yield f"{path}.tiers", "would choose for every model that is asked for by name; give the route a match"
    if not 0 <= context.reserve <= 1_000_000:
        yield f"{path}.context.reserve", f"{context.reserve} is not between 0 and 1000000 tokens"
    if context.keep < 1:
        yield f"{path}.context.keep", "must be at least 1: the latest user turn is never left out"
    if rules.baseline is not None and rules.baseline not in models:
        yield f"{path}.baseline", _no_model(rules.baseline, models)


def overlaps(matches: Mapping[str, RouteMatch | None]) -> Iterator[Found]:
    """Models that two routes claim. `matches`: by route name."""
    owner: dict[str, str] = {}
    for route, match in matches.items():
        for at, model in enumerate(match.models if match is not None else []):
            first = owner.setdefault(model, route)
            if first != route:
                yield f"routes.{route}.match.models[{at}]", f"{model!r} is already served by route {first!r}"


def default_model(intents: IntentsConfig) -> str | None:
    """The model for what no action settles, when the name asked for is not itself a model."""
    if intents.default is not None:
        return intents.default
    return next((then.model for then in intents.then.values() if then.model is not None), None)


def _then(where: str, name: str, then: Then, models: Collection[str], examples: Examples | None) -> Iterator[Found]:
    given = [action for action in _ACTIONS if getattr(then, action) is not None]
    if len(given) != 1 and given != ["answer", "handoff"] and not (not given and then.action):
        yield where, f"needs exactly one of {', '.join(_ACTIONS)}; it has {', '.join(given) or 'none'}"
    for action in given:
        if not getattr(then, action).strip():
            yield f"{where}.{action}", "is empty"
    if then.action is not None and not _LABEL.fullmatch(then.action):
        yield f"{where}.action", "a name of 1 to 64 letters, digits and . _ : -, so that it can be a header"
    if then.reason is not None and (then.handoff is None or not _REASON.fullmatch(then.reason)):
        yield f"{where}.reason", "one line of 1 to 100 ASCII characters, beside `handoff`"
    if then.model is not None and then.model not in models:
        yield f"{where}.model", _no_model(then.model, models)
    if then.clarify is not None:
        yield from _template(f"{where}.clarify", then.clarify)
    if examples is not None and name not in (OUT_OF_SCOPE, UNCLEAR, *examples.intents):
        known = (OUT_OF_SCOPE, UNCLEAR, *examples.intents)
        yield where, f"no examples are given for an intent called {name!r}{did_you_mean(name, known)}"


def _template(where: str, template: str) -> Iterator[Found]:
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        yield where, f"not a template: {error}; write {{{{ and }}}} for braces"
        return
    for _, field, form, conversion in parts:
        if field is not None and (field not in ("first", "second") or form or conversion):
            yield where, f"{{{field}}} is not known; only {{first}} and {{second}} are"


def _no_model(name: str, models: Iterable[str]) -> str:
    return f"no model is called {name!r}{did_you_mean(name, models)}"
