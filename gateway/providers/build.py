"""Makes upstreams and plans from a config that was checked."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.core.clock import Clock, SystemClock
from gateway.core.plan import Capability, ModelPlan, Queue, Shadow, Target, Timeouts
from gateway.core.ports import Dialect
from gateway.pools.affinity import ask_of
from gateway.pools.endpoints import Endpoints
from gateway.providers.auth import auth_headers
from gateway.providers.config import InvalidConfig, ProviderConfig, profile_of, provider_problems, urls_of
from gateway.providers.http_client import HttpClient
from gateway.providers.model_config import ModelConfig, TargetConfig, model_problems
from gateway.providers.native import Polyglot
from gateway.providers.post import Poster
from gateway.providers.prices import price_for, window_of
from gateway.providers.profile import Profile
from gateway.providers.signing.kinds import KINDS
from gateway.providers.upstream import HttpUpstream


def build(
    providers: Mapping[str, ProviderConfig],
    dialects: Mapping[str, Dialect],
    http: HttpClient,
    *,
    clock: Clock | None = None,
) -> dict[str, HttpUpstream]:
    """One upstream for each entry of `providers:`. Raises InvalidConfig with all problems. Providers with a `proxy` get
    a client of their own, which `http` closes with itself."""
    problems = provider_problems(providers, dialects)
    if problems:
        raise InvalidConfig(problems)
    clock = clock or SystemClock()
    upstreams = {}
    for name, config in providers.items():
        profile = profile_of(config)
        client = http.through(config.proxy.reveal()) if config.proxy else http
        kind = KINDS.get(profile.auth)
        upstreams[name] = HttpUpstream(
            name,
            profile,
            _dialect(profile, dialects),
            Endpoints(urls_of(config, profile), config.balance, clock),
            client,
            auth=() if kind else auth_headers(profile.auth, config.api_key),
            signer=kind.make(config, Poster(client), clock) if kind else None,
            ask=ask_of(config.balance, config.prefix_scope),
        )
    return upstreams


def _dialect(profile: Profile, dialects: Mapping[str, Dialect]) -> Dialect:
    first = dialects[profile.dialect]
    return Polyglot(first, {named: dialects[named] for named in profile.native}) if profile.native else first


def plans(models: Mapping[str, ModelConfig], providers: Mapping[str, ProviderConfig]) -> dict[str, ModelPlan]:
    """One plan for each alias. Raises InvalidConfig with all problems."""
    problems = model_problems(models, providers)
    if problems:
        raise InvalidConfig(problems)
    return {alias: _plan(alias, model, providers) for alias, model in models.items()}


def _plan(alias: str, model: ModelConfig, providers: Mapping[str, ProviderConfig]) -> ModelPlan:
    """A target's price is its own, else the model's, else the table's; its window likewise."""
    times = model.timeouts
    targets = tuple(
        Target(
            provider=target.provider,
            model=_named(target, providers[target.provider]),
            adapter=target.adapter,
            weight=target.weight,
            price=price_for(target, model, providers),
            context_window=target.context_window
            or model.context_window
            or window_of(providers[target.provider].type, target.model),
            capabilities=_capabilities(target, model, providers[target.provider]),
        )
        for target in model.targets
    )
    return ModelPlan(
        alias=alias,
        targets=targets,
        timeouts=Timeouts(connect=times.connect, ttft=times.ttft, idle=times.idle, total=times.total),
        attempts=model.retry.attempts,
        max_wait=model.retry.max_wait,
        hedge_after=model.hedge.after if model.hedge else None,
        concurrency=model.concurrency,
        queue=Queue(most=model.queue.max, ttl=model.queue.ttl) if model.queue else Queue(),
        shadow=Shadow(model=model.shadow.model, share=model.shadow.share) if model.shadow else None,
        sticky=model.sticky,
        keepalive=model.keepalive,
        on_failure=tuple(model.on_failure),
        on_context_overflow=tuple(model.on_context_overflow),
        on_content_policy=tuple(model.on_content_policy),
        price=model.price,
    )


def _named(target: TargetConfig, provider: ProviderConfig) -> str:
    """As a request names it: an adapter in the way of its engine."""
    way = profile_of(provider).engine.adapter if target.adapter else None
    return way.format(base=target.model, adapter=target.adapter) if way else target.model


def _capabilities(target: TargetConfig, model: ModelConfig, provider: ProviderConfig) -> frozenset[Capability] | None:
    """The nearest word on it: the target's, the model's, the operator's of the provider, the catalog's."""
    for given in (target.capabilities, model.capabilities, profile_of(provider).capabilities):
        if given is not None:
            return frozenset(given)
    return None
