"""Makes each route's `route` stage, fitting what must be fitted."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import msgspec
import numpy as np

from gateway.core.plan import ModelPlan
from gateway.core.ports import Decider, Embed
from routing.baseline import Baseline, Cost
from routing.clarify import title
from routing.config import IntentsConfig, Rules, default_model
from routing.examples import Examples, load_examples
from routing.fit import fit_head
from routing.head import Head
from routing.intents import Intents
from routing.plans import Plans
from routing.router import IntentRouter, PlanRouter, Route
from routing.select import Select
from routing.store import head_key, load_head, save_head
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
) -> Routers:
    """`base`: the config file's folder; `embed`: an `Encoder`, or None when no route has intents or its files are missing
    (routes with intents then run degraded); `revisions`: each route's digest; `heads`: where fitted heads are kept;
    `cost`: of some usage at some price, in USD.

    May take half a minute for thousands of examples, so call it before serving. Raises `ExamplesError` or ValueError
    for what `config.problems` would have found.
    """
    table = Plans(plans)
    select = Select({name: rules.match for name, rules in routes.items()}, revisions)
    made: dict[str, Decider] = {}
    for name, rules in routes.items():
        tiers = Tiers(rules.tiers, rules.context, table) if rules.tiers is not None else None
        router: Decider = PlanRouter(table, tiers)
        if rules.intents is not None:
            router = _intents(name, rules.intents, table, tiers, embed, base, heads, progress)
        price = plans[rules.baseline].targets[0].price if rules.baseline is not None else None
        made[name] = Route(router, rules.context, Baseline(price, cost) if price is not None else None)
    return Routers(select, made)


def _intents(
    route: str,
    config: IntentsConfig,
    plans: Plans,
    tiers: Tiers | None,
    embed: Embed | None,
    base: Path,
    heads: Path | None,
    progress: Progress,
) -> IntentRouter:
    examples = load_examples(config.examples, base)
    head = None
    if embed is not None:
        if not isinstance(embed, Encoder):
            raise TypeError(f"{embed.id} embeds one request at a time; a router also needs `encode`")
        head = fitted(examples, embed, heads, lambda line: progress(f"route {route}: {line}"))
    intents = Intents(config, examples, head, embed)
    return IntentRouter(plans, config, intents, default=default_model(config), tiers=tiers)


def fitted(
    examples: Examples, encoder: Encoder, heads: Path | None = None, progress: Progress = lambda _line: None
) -> Head:
    """The head of these examples: from `heads` if it is there, else fitted and kept there."""
    key = head_key(examples, encoder.id)
    head = load_head(heads, key, encoder.id) if heads is not None else None
    if head is not None:
        return head
    count = len(examples.texts) + len(examples.outside)
    progress(f"learning {len(examples.intents)} intents from {count} examples")
    started = time.monotonic()
    names = [title(intent) for intent in sorted(examples.intents)]
    vectors = encoder.encode([*examples.texts, *examples.outside, *names])
    end = len(vectors) - len(names)
    split = len(examples.texts)
    outside = vectors[split:end]
    head = fit_head(
        vectors[:split], examples.labels, outside, encoder=encoder.id, texts=examples.texts, names=vectors[end:]
    )
    progress(f"{head.kind} head ready ({time.monotonic() - started:.1f} s)")
    if heads is not None:
        try:
            save_head(heads, key, head)
        except OSError as error:
            progress(f"the head could not be kept in {heads} ({error.strerror}); the next start fits it again")
    return head
