"""The `models:` section of the config, and what is wrong with it: as for `providers:` in `config`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Literal

import msgspec

from gateway.core.plan import Capability, Price
from gateway.core.units import Duration
from gateway.providers.config import Problems, ProviderConfig, unknown
from gateway.providers.dispatch_config import (
    HedgeConfig,
    QueueConfig,
    RetryConfig,
    ShadowConfig,
    TimeoutsConfig,
    queue_problems,
    shadow_problems,
    timing_problems,
)
from gateway.providers.watch_config import adapter_problem


class TargetConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model at one provider. `weight` is its share of the calls."""

    provider: str
    model: str
    adapter: str | None = None
    """A LoRA adapter of the model, by the name its engine knows; `model` is then the one it is an adapter of."""
    weight: int = 1
    price: Price | None = None
    context_window: int | None = None
    """Tokens; absent: the model's."""
    capabilities: list[Capability] | None = None
    """Absent: the model's."""


class ModelConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of `models:`: a name that clients ask for."""

    targets: list[TargetConfig]
    on_failure: list[str] = msgspec.field(default_factory=list)
    on_context_overflow: list[str] = msgspec.field(default_factory=list)
    on_content_policy: list[str] = msgspec.field(default_factory=list)
    """Asked instead when the provider's own content filter stops the prompt, or ends the answer before any of it is out."""
    timeouts: TimeoutsConfig = TimeoutsConfig()
    retry: RetryConfig = RetryConfig()
    hedge: HedgeConfig | None = None
    context_window: int | None = None
    """Most tokens of prompt and answer together; absent: the table's, where it is sure of one."""
    capabilities: list[Capability] | None = None
    """All that it can do: requests that need more go to another model of the plan, or are told what is missing. Absent:
    the provider's; and where that says nothing either, it is asked whatever the client asks."""
    price: Price | None = None
    concurrency: int | None = None
    """Requests that may be under way there at one time, in each process; others wait in its `queue`."""
    queue: QueueConfig | None = None
    shadow: ShadowConfig | None = None
    sticky: Literal["session", "user"] | None = None
    """Whose requests all go to the same target first, by its weight; absent: each request is drawn anew."""
    keepalive: Duration | None = None
    """Seconds of silence after which a streaming client gets a sign of life; absent: `server.keepalive`."""


def model_problems(models: Mapping[str, ModelConfig], providers: Mapping[str, ProviderConfig]) -> Problems:
    problems: Problems = []
    if not models:
        problems.append(("models", "none is configured; give at least one"))
    for alias, model in models.items():
        problems += [(f"models.{alias}.{at}", message) for at, message in _model(alias, model, models, providers)]
    return problems


def _model(
    alias: str, model: ModelConfig, aliases: Collection[str], providers: Mapping[str, ProviderConfig]
) -> Iterable[tuple[str, str]]:
    if not model.targets:
        yield "targets", "none is given; name at least one provider and model"
    for at, target in enumerate(model.targets):
        if target.provider not in providers:
            yield f"targets[{at}].provider", unknown("provider", target.provider, providers)
        elif target.adapter is not None and (wrong := adapter_problem(target.adapter, providers[target.provider].type)):
            yield f"targets[{at}].adapter", wrong
        if target.weight < 0:
            yield f"targets[{at}].weight", "must not be negative"
    if model.targets and not any(target.weight > 0 for target in model.targets):
        yield "targets", "every weight is 0, so none could ever be chosen"
    for field in ("on_failure", "on_context_overflow", "on_content_policy"):
        for at, name in enumerate(getattr(model, field)):
            if name not in aliases:
                yield f"{field}[{at}]", unknown("model", name, aliases)
            elif name == alias:
                yield f"{field}[{at}]", "a model cannot stand in for itself; use retry.attempts"
    yield from shadow_problems(alias, model.shadow, aliases)
    yield from _numbers(model)


def _numbers(model: ModelConfig) -> Iterable[tuple[str, str]]:
    yield from timing_problems(model.timeouts, model.retry, model.hedge, model.keepalive)
    yield from queue_problems(model.concurrency, model.queue)
    windows = [("context_window", model.context_window)]
    windows += [(f"targets[{at}].context_window", target.context_window) for at, target in enumerate(model.targets)]
    for path, window in windows:
        if window is not None and window < 1:
            yield path, "must be at least 1 token"
