"""`tool_caches.<namespace>` of the configuration: results of applications' own tools and retrievals, in the same stores."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Literal

import msgspec

from cache.backends.evict import Policy
from cache.config import ExactConfig, SemanticConfig, bounds, is_server
from cache.key import Scope
from cache.record import MAX_ENTRY
from gateway.core.units import Duration, Size

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_MOST = 64
PREFIX = "tool:"


class ToolCacheConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One namespace. Nothing is shared with any other, nor with the answers of routes."""

    kind: Literal["exact", "semantic"] = "exact"
    """`exact`: by tool and arguments. `semantic`: by the text of a query, for retrieval."""
    partition: Scope = "user"
    """Who shares values. `route`: everyone who may use this gateway."""
    ttl: Duration = Duration(3600.0)
    """At most; a value may be stored for less."""
    tags: tuple[str, ...] = ()
    max_value: Size = Size(256 * 1024)
    """Of one value, as JSON."""
    max_entries: int = 10_000
    """Of each process's memory; in Redis its own bounds hold, in Qdrant this one."""
    max_bytes: Size = Size(64 * 1024 * 1024)
    max_bytes_per_tenant: Size | None = None
    evict: Policy = "lru"
    threshold: float = 0.93
    """Semantic only. How sure a value must be at least, as for near answers; here on your word alone."""
    refuse_secrets: bool = True
    """What holds a credential of a known form is not stored."""

    def exact(self) -> ExactConfig:
        return ExactConfig(
            ttl=self.ttl,
            max_entries=self.max_entries,
            max_bytes=self.max_bytes,
            max_bytes_per_tenant=self.max_bytes_per_tenant,
            evict=self.evict,
        )

    def semantic(self) -> SemanticConfig:
        return SemanticConfig(ttl=self.ttl, max_entries=self.max_entries, max_bytes=self.max_bytes)


def owner_name(namespace: str) -> str:
    """How a namespace is called where routes stand beside it: in metrics, receipts and purges."""
    return PREFIX + namespace


def problems(
    namespaces: dict[str, ToolCacheConfig], routes: Collection[str], *, qdrant: str = ":memory:", workers: int = 1
) -> Iterator[tuple[str, str]]:
    """Everything wrong with `tool_caches`, as (path, message)."""
    if len(namespaces) > _MOST:
        yield "tool_caches", f"{len(namespaces)} namespaces are more than {_MOST}"
    for route in routes:
        if namespaces and route.startswith(PREFIX):
            yield f"routes.{route}", f"names that begin with {PREFIX!r} are those of tool_caches; choose another"
    for name, config in namespaces.items():
        path = f"tool_caches.{name}"
        if not NAME.fullmatch(name):
            yield path, "a name has 1 to 40 lower-case letters, digits, - and _, and begins with none of the last two"
        for line in bounds(path, config.ttl, config.max_entries, config.max_bytes):
            where, _, message = line.partition(": ")
            yield where, message
        yield from _one(path, config, qdrant, workers)


def _one(path: str, config: ToolCacheConfig, qdrant: str, workers: int) -> Iterator[tuple[str, str]]:
    if not 1 <= config.max_value <= MAX_ENTRY - 64 * 1024:
        yield f"{path}.max_value", f"{config.max_value} bytes are not between 1 and {MAX_ENTRY - 64 * 1024}"
    if not 0.0 <= config.threshold <= 1.0:
        yield f"{path}.threshold", f"{config.threshold} is not between 0 and 1"
    if len(config.tags) > 16 or any(not tag or len(tag) > 128 for tag in config.tags):
        yield f"{path}.tags", "at most 16 tags of 1 to 128 characters"
    each = config.max_bytes_per_tenant
    if each is not None and not 64 * 1024 <= each <= config.max_bytes:
        yield f"{path}.max_bytes_per_tenant", f"{each} bytes are not between 64KiB and max_bytes"
    if config.kind == "semantic" and qdrant != ":memory:" and not is_server(qdrant) and workers > 1:
        yield "qdrant", f"{qdrant!r} is a path, which one process can use; {workers} workers need a Qdrant server"
    if config.kind == "semantic" and config.max_entries > 50_000 and not is_server(qdrant):
        yield f"{path}.max_entries", "more than 50000 entries need a Qdrant server (`qdrant: http://...`)"


def describe(config: ToolCacheConfig, *, redis: bool, qdrant: str) -> list[str]:
    """What these settings do, for `tidegate check`."""
    if config.kind == "exact":
        where = "in Redis" if redis else "in each process's memory"
        how = "by tool and arguments"
    else:
        where = "in Qdrant" if is_server(qdrant) else "in this process's memory" if qdrant == ":memory:" else "on disk"
        how = f"by query, from a score of {config.threshold:g} on unless a veto tells two apart; on your word alone"
    shared = "everyone" if config.partition == "route" else f"one {config.partition}"
    secrets = "what holds a credential is not stored" if config.refuse_secrets else "values are not looked at"
    return [
        f"{how}; {config.ttl:g} s {where}, shared within {shared}; values up to {config.max_value} bytes; {secrets}"
    ]
