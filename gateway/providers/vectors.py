"""Texts to the body of an embeddings reply, over a provider of the configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gateway.configuring.problems import did_you_mean
from gateway.core.errors import GatewayFault, UpstreamFailed
from gateway.core.events import Failed, Relayed
from gateway.core.plan import Target, Timeouts
from gateway.core.ports import Upstream
from gateway.core.request import Request
from gateway.dialects.openai_extra import NAME
from gateway.embedding.config import MOST_DIM, MOST_TEXTS, EmbeddingConfig
from gateway.providers import catalog
from gateway.providers.config import ProviderConfig, profile_of
from gateway.providers.model_config import ModelConfig


class AskVectors:
    """One call of `/embeddings` at one target: the provider's endpoints, credential, parameters and proxy as for others."""

    def __init__(self, upstream: Upstream, target: Target, *, dim: int | None) -> None:
        """`dim`: asked for as `dimensions`; None: nothing is said of it."""
        self._upstream = upstream
        self._target = target
        self._fixed: dict[str, Any] = {} if dim is None else {"dimensions": dim}

    async def __call__(self, texts: Sequence[str], seconds: float) -> bytes:
        """The reply's body. Raises a `GatewayFault`."""
        request = Request(
            dialect=NAME,
            operation="embeddings",
            body={"model": self._target.model, "input": list(texts), "encoding_format": "float", **self._fixed},
            model=self._target.model,
            stream=False,
            include_usage=False,
            slots=[],
        )
        timeouts = Timeouts(connect=min(5.0, seconds), ttft=seconds, idle=seconds, total=seconds)
        reply = await self._upstream.open(request, self._target, timeouts, traceparent="", headers={})
        body = b""
        try:
            async for frames in reply.frames():
                for event in (event for frame in frames for event in frame.events):
                    if isinstance(event, Relayed):
                        body = event.body
                    elif isinstance(event, Failed):
                        raise event.error if isinstance(event.error, GatewayFault) else UpstreamFailed("It broke off.")
        finally:
            await reply.close()
        if not body:
            raise UpstreamFailed("The upstream's reply holds no vectors.")
        return body


def target_of(config: EmbeddingConfig, models: Mapping[str, ModelConfig]) -> Target:
    """Whom to ask. Raises ValueError for an alias that is none, or that has several targets: their vectors do not mix."""
    if config.provider is not None:
        return Target(provider=config.provider, model=config.model)
    model = models.get(config.model)
    if model is None:
        raise ValueError(
            f"no model is called {config.model!r}{did_you_mean(config.model, models)}; without `provider` it is an alias of "
            "`models:`, with it the provider's own name"
        )
    if len(model.targets) != 1:
        raise ValueError(
            f"{config.model!r} has {len(model.targets)} targets, whose vectors do not mix; name one that has one"
        )
    return Target(provider=model.targets[0].provider, model=model.targets[0].model)


def embedding_problems(
    config: EmbeddingConfig, providers: Mapping[str, ProviderConfig], models: Mapping[str, ModelConfig]
) -> Iterator[tuple[str, str]]:
    """Everything wrong with `embedding:`, as (path, message)."""
    try:
        target = target_of(config, models)
    except ValueError as error:
        yield "embedding.model", str(error)
    else:
        yield from _provider(target.provider, providers, config)
    if not 1 <= config.dim <= MOST_DIM:
        yield "embedding.dim", f"{config.dim} is not between 1 and {MOST_DIM}"
    if not 0.01 <= config.deadline <= 30.0:
        yield "embedding.deadline", f"{config.deadline:g}s is not between 10ms and 30s"
    if not 1 <= config.batch <= MOST_TEXTS:
        yield "embedding.batch", f"{config.batch} is not between 1 and {MOST_TEXTS} texts"


def _provider(name: str, providers: Mapping[str, ProviderConfig], config: EmbeddingConfig) -> Iterator[tuple[str, str]]:
    path = "embedding.provider" if config.provider is not None else "embedding.model"
    provider = providers.get(name)
    if provider is None:
        yield path, f"no provider is called {name!r}{did_you_mean(name, providers)}"
        return
    try:
        profile = profile_of(provider)
    except catalog.CatalogError:
        return  # told where the provider stands
    if "embeddings" not in profile.operations:
        yield path, f"a provider of type {provider.type!r} has no /v1/embeddings"
