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
from routing.config import IntentsConfig, RouteMatch, default_model
from routing.examples import Examples, load_examples
from routing.fit import fit_head
from routing.head import Head
from routing.intents import Intents
from routing.plans import Plans
from routing.router import IntentRouter, PlanRouter
from routing.select import Select
from routing.store import head_key, load_head, save_head

Progress = Callable[[str], None]
Section = tuple[RouteMatch | None, IntentsConfig | None]
"""A route's `match` and `intents`."""


@runtime_checkable
class Encoder(Embed, Protocol):
    """An `Embed` that also takes many texts at once, on the calling thread: fitting happens before serving."""

    def encode(self, texts: Sequence[str]) -> np.ndarray[Any, Any]: ...


class Routers(msgspec.Struct, frozen=True):
    """`select` for all, and a `route` stage for each route."""

    select: Select
    routes: Mapping[str, Decider]


def build(
    routes: Mapping[str, Section],
    *,
    plans: Mapping[str, ModelPlan],
    embed: Embed | None,
    base: Path,
    revisions: Mapping[str, str],
    heads: Path | None = None,
    progress: Progress = lambda _line: None,
) -> Routers:
    """`base`: the config file's folder; `embed`: an `Encoder`, or None when no route has intents or its files are missing
    (routes with intents then run degraded); `revisions`: each route's digest; `heads`: where fitted heads are kept.

    May take half a minute for thousands of examples, so call it before serving. Raises `ExamplesError` or ValueError
    for what `config.problems` would have found.
    """
    table = Plans(plans)
    select = Select({name: match for name, (match, _) in routes.items()}, revisions)
    made: dict[str, Decider] = {}
    for name, (_, config) in routes.items():
        made[name] = PlanRouter(table) if config is None else _router(name, config, table, embed, base, heads, progress)
    return Routers(select, made)


def _router(
    route: str,
    config: IntentsConfig,
    plans: Plans,
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
    return IntentRouter(plans, config, Intents(config, examples, head, embed), default=default_model(config))


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
    vectors = encoder.encode([*examples.texts, *examples.outside])
    split = len(examples.texts)
    head = fit_head(vectors[:split], examples.labels, vectors[split:], encoder=encoder.id)
    progress(f"{head.kind} head ready ({time.monotonic() - started:.1f} s)")
    if heads is not None:
        try:
            save_head(heads, key, head)
        except OSError as error:
            progress(f"the head could not be kept in {heads} ({error.strerror}); the next start fits it again")
    return head
