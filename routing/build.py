"""Makes each route's `route` stage, fitting what must be fitted."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import msgspec
import numpy as np

from gateway.core.errors import GatewayFault
from gateway.core.plan import ModelPlan
from gateway.core.ports import Decider, Embed
from routing.baseline import Baseline, Cost
from routing.clarify import title
from routing.config import IntentsConfig, Rules, default_model
from routing.examples import Examples, load_examples
from routing.fit import fit_head
from routing.head import Head
from routing.intents import Intents
from routing.known import Encode, encoded
from routing.plans import Plans
from routing.router import IntentRouter, PlanRouter, Route
from routing.select import Select
from routing.store import alone, head_key, load_head, save_head
from routing.tiers import Tiers

Progress = Callable[[str], None]


@runtime_checkable
class Encoder(Embed, Protocol):
    """An `Embed` that also takes many texts at once, on the calling thread: fitting happens before serving."""

    def encode(self, texts: Sequence[str]) -> np.ndarray[Any, Any]: ...


class Routers(msgspec.Struct, frozen=True):
    """`select` for all, and a `route` stage for each route."""

    select: Select
    routes: Mapping[str, Decider]
    intents: Mapping[str, Sequence[str]] = {}
    """The names of each route that has some."""
    late: Sequence[Callable[[], None]] = ()
    """Learn what could not be learned because the encoder did not answer. Each blocks, and raises while it does not yet."""


def build(
    routes: Mapping[str, Rules],
    *,
    plans: Mapping[str, ModelPlan],
    cost: Cost,
    embed: Embed | None,
    base: Path,
    revisions: Mapping[str, str],
    heads: Path | None = None,
    progress: Progress = lambda _line: None,
    budget: float | None = None,
) -> Routers:
    """`base`: the config file's folder; `embed`: an `Encoder`, or None when no route has intents or its files are missing
    (routes with intents then run degraded); `revisions`: each route's digest; `heads`: where fitted heads are kept;
    `cost`: of some usage at some price, in USD; `budget`: seconds for one question, where a route does not say.

    May take half a minute for thousands of examples, so call it before serving. Raises `ExamplesError` or ValueError
    for what `config.problems` would have found.
    """
    table = Plans(plans)
    select = Select({name: rules.match for name, rules in routes.items()}, revisions)
    learner = _Learner(embed, base, heads, progress)
    made: dict[str, Decider] = {}
    for name, rules in routes.items():
        tiers = Tiers(rules.tiers, rules.context, table) if rules.tiers is not None else None
        router: Decider = PlanRouter(table, tiers)
        if rules.intents is not None:
            intents = learner.intents(name, rules.intents)
            default = default_model(rules.intents)
            router = IntentRouter(table, rules.intents, intents, default=default, tiers=tiers, budget=budget)
        price = plans[rules.baseline].targets[0].price if rules.baseline is not None else None
        made[name] = Route(router, rules.context, Baseline(price, cost) if price is not None else None)
    return Routers(select, made, learner.names, learner.late)


class _Learner:
    """Makes each route's intents. An encoder that does not answer is no reason not to start: such a route runs degraded
    until its examples are learned."""

    def __init__(self, embed: Embed | None, base: Path, heads: Path | None, progress: Progress) -> None:
        if embed is not None and not isinstance(embed, Encoder):
            raise TypeError(f"{embed.id} embeds one request at a time; a router also needs `encode`")
        self._embed = embed
        self._base = base
        self._heads = heads
        self._progress = progress
        self.names: dict[str, tuple[str, ...]] = {}
        self.late: list[Callable[[], None]] = []

    def intents(self, route: str, config: IntentsConfig) -> Intents:
        embed = self._embed
        examples = load_examples(config.examples, self._base)
        self.names[route] = tuple(examples.intents)
        intents = Intents(config, examples, None, embed)
        if embed is None:
            return intents

        def learn() -> None:
            intents.learn(fitted(examples, embed, self._heads, lambda line: self._progress(f"route {route}: {line}")))

        try:
            learn()
        except (TimeoutError, GatewayFault) as failure:
            why = str(failure) or "no answer in time"
            self._progress(f"route {route}: intents are not learned yet, the encoder fails ({why})")
            self.late.append(learn)
        return intents


def fitted(
    examples: Examples, encoder: Encoder, heads: Path | None = None, progress: Progress = lambda _line: None
) -> Head:
    """The head of these examples: from `heads` if it is there, else fitted and kept there."""
    key = head_key(examples, encoder.id)
    if heads is None:
        return _learned(examples, encoder, progress, encoder.encode)
    head = load_head(heads, key, encoder.id)
    if head is not None:
        return head
    with alone(heads):
        head = load_head(heads, key, encoder.id)  # another process may have learned it meanwhile
        if head is not None:
            return head
        head = _learned(examples, encoder, progress, lambda texts: encoded(heads, encoder.id, texts, encoder.encode))
        try:
            save_head(heads, key, head)
        except OSError as error:
            progress(f"the head could not be kept in {heads} ({error.strerror}); the next start fits it again")
    return head


def _learned(examples: Examples, encoder: Encoder, progress: Progress, encode: Encode) -> Head:
    count = len(examples.texts) + len(examples.outside)
    progress(f"learning {len(examples.intents)} intents from {count} examples")
    started = time.monotonic()
    names = [title(intent) for intent in sorted(examples.intents)]
    vectors = encode([*examples.texts, *examples.outside, *names])
    end = len(vectors) - len(names)
    split = len(examples.texts)
    outside = vectors[split:end]
    head = fit_head(
        vectors[:split], examples.labels, outside, encoder=encoder.id, texts=examples.texts, names=vectors[end:]
    )
    progress(f"{head.kind} head ready ({time.monotonic() - started:.1f} s)")
    return head
