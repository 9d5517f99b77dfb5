"""Who turns texts into vectors: the built-in encoder, or a provider for router and caches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec

from gateway import config as configuration
from gateway.config import Config
from gateway.core.clock import Clock, SystemClock
from gateway.core.ports import Dialect
from gateway.embedding.config import encoder_id
from gateway.providers.build import build as build_upstreams
from gateway.providers.http_client import HttpClient
from gateway.providers.upstream import HttpUpstream
from gateway.providers.vectors import AskVectors, target_of
from routing.build import Encoder

if TYPE_CHECKING:
    from gateway.embedding.minilm import MiniLM
    from gateway.embedding.remote import Ask, RemoteEmbed

_FIRST_WAIT, _LONGEST_WAIT = 5.0, 60.0
"""Seconds between two tries to learn examples that could not be learned at start."""


class Encoders(msgspec.Struct, frozen=True):
    """Each None where nothing uses it."""

    local: MiniLM | None
    """The built-in one, for the checks."""
    remote: RemoteEmbed | None

    @property
    def meaning(self) -> Encoder | None:
        """The one of the router and the semantic caches."""
        return self.remote or self.local

    @property
    def budget(self) -> float | None:
        """Seconds that one question may take; None: the parts' own, which are made for the built-in one."""
        return self.remote.deadline if self.remote is not None else None


def encoders(
    config: Config, upstreams: Mapping[str, HttpUpstream], dialects: Mapping[str, Dialect], clock: Clock
) -> Encoders:
    """Raises ValueError saying how to build a missing built-in one, if something cannot do without."""
    return Encoders(embedder(config), remote(config, upstreams, dialects, clock))


def embedder(config: Config) -> MiniLM | None:
    """The built-in encoder, loaded only where something uses it. Raises ValueError saying how to build a missing one, if
    something cannot do without."""
    needed = configuration.needs_embedding(config)
    if not needed and not configuration.better_with_embedding(config):
        return None
    from gateway.embedding.files import ModelMissing, models_dir
    from gateway.embedding.minilm import MiniLM

    try:
        return MiniLM(models_dir())
    except ModelMissing as missing:
        if needed:
            raise ValueError(str(missing)) from None
        return None


def remote(
    config: Config, upstreams: Mapping[str, HttpUpstream], dialects: Mapping[str, Dialect], clock: Clock
) -> RemoteEmbed | None:
    """The configured provider's, where a route uses it."""
    used = any(map(configuration.uses_vectors, config.all_routes().values()))
    if config.embedding is None or not (used or any(tool.kind == "semantic" for tool in config.tool_caches.values())):
        return None
    return _remote(config, upstreams, dialects, clock)


def _remote(
    config: Config, upstreams: Mapping[str, HttpUpstream], dialects: Mapping[str, Dialect], clock: Clock
) -> RemoteEmbed:
    from gateway.embedding.remote import RemoteEmbed

    given = config.embedding
    assert given is not None, "only where a provider embeds"
    target = target_of(given, config.models)
    only = {target.provider: config.providers[target.provider]}
    dim = given.dim if given.send_dim else None

    @asynccontextmanager
    async def apart() -> AsyncIterator[Ask]:
        """Connections belong to one event loop, so another gets its own."""
        http = HttpClient()
        try:
            yield AskVectors(build_upstreams(only, dialects, http)[target.provider], target, dim=dim)
        finally:
            await http.aclose()

    return RemoteEmbed(
        remote_id(config),
        given.dim,
        AskVectors(upstreams[target.provider], target, dim=dim),
        apart,
        clock,
        deadline=given.deadline,
        batch=given.batch,
    )


def remote_alone(config: Config) -> RemoteEmbed:
    """The configured provider's, for a command: whoever runs it, no gateway does. Its connections end with the process."""
    from gateway.dialects.registry import dialects

    target = target_of(config.embedding, config.models) if config.embedding is not None else None
    assert target is not None, "only where a provider embeds"
    only = {target.provider: config.providers[target.provider]}
    upstreams = build_upstreams(only, dialects(), HttpClient())
    return _remote(config, upstreams, dialects(), SystemClock())


def remote_id(config: Config) -> str:
    """The id of the configured provider's encoder."""
    assert config.embedding is not None, "only where a provider embeds"
    target = target_of(config.embedding, config.models)
    return encoder_id(config.providers[target.provider].type, target.model, config.embedding)


class Learning:
    """Examples that could not be learned at start, because the encoder did not answer: tried again until they are."""

    def __init__(self, late: Sequence[Callable[[], None]]) -> None:
        """Each blocks, and raises while the encoder fails."""
        self.late = list(late)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self.late:
            self._task = asyncio.create_task(self._learn(), name="learn-examples")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _learn(self) -> None:
        wait = _FIRST_WAIT
        while self.late:
            await asyncio.sleep(wait)
            try:
                await asyncio.to_thread(self.late[0])
            except Exception:  # the encoder still fails, whatever way; the router says `degraded` meanwhile
                wait = min(_LONGEST_WAIT, wait * 2)
            else:
                self.late.pop(0)
