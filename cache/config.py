"""`routes.<name>.cache` of the configuration, what can be wrong with it, and what it means in plain words."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from cache.backends.evict import Policy
from cache.key import Scope
from gateway.core.units import Duration, Size

_MEMORY_ROWS = 50_000
"""Above this a scan of one partition takes 4 ms of the event loop and more: that is a Qdrant server's work."""


class ExactConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`max_entries`, `max_bytes` and `evict` hold for each process's memory; in Redis its own `maxmemory` rules."""

    ttl: Duration = Duration(3600.0)
    max_entries: int = 10_000
    max_bytes: Size = Size(64 * 1024 * 1024)
    evict: Policy = "lru"


class SemanticConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`max_false_hit_rate` and `verify_sample` are read and checked but not yet acted on: see `describe`."""

    ttl: Duration = Duration(3600.0)
    threshold: float = 0.93
    """Cosine similarity of the normalised questions, from which on a cached answer may be served."""
    max_false_hit_rate: float = 0.01
    verify_sample: float = 0.02
    max_entries: int = 10_000
    max_bytes: Size = Size(128 * 1024 * 1024)
    max_temperature: float = 1.0
    """A request that asks for more is not answered from a similar one."""


class CacheConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One route's caches. `partition`: who may share answers."""

    partition: Scope = "user"
    exact: ExactConfig | None = None
    semantic: SemanticConfig | None = None

    @property
    def used(self) -> bool:
        return self.exact is not None or self.semantic is not None


def problems(config: CacheConfig, path: str, *, qdrant: str = ":memory:", workers: int = 1) -> list[str]:
    """Every error, as `path: what is wrong`. `path` is where this stands: `routes.default.cache`."""
    found: list[str] = []
    exact, semantic = config.exact, config.semantic
    if exact is not None:
        found += _bounds(f"{path}.exact", exact.ttl, exact.max_entries, exact.max_bytes)
    if semantic is not None:
        where = f"{path}.semantic"
        found += _bounds(where, semantic.ttl, semantic.max_entries, semantic.max_bytes)
        for name, least, most in (
            ("threshold", 0.0, 1.0),
            ("max_false_hit_rate", 0.0, 1.0),
            ("verify_sample", 0.0, 1.0),
            ("max_temperature", 0.0, 100.0),
        ):
            value = getattr(semantic, name)
            if not least <= value <= most:
                found.append(f"{where}.{name}: {value} is not between {least:g} and {most:g}")
        if semantic.max_entries > _MEMORY_ROWS and not is_server(qdrant):
            found.append(
                f"{where}.max_entries: more than {_MEMORY_ROWS} entries need a Qdrant server (`qdrant: http://...`)"
            )
        if workers > 1 and kept_on_disk(qdrant):
            found.append(
                f"qdrant: {qdrant!r} is a path, which one process can use; {workers} workers need a Qdrant server"
            )
    return found


def describe(config: CacheConfig, *, redis: bool = False, qdrant: str = ":memory:") -> list[str]:
    """What these settings do, for `tidegate check`. Says what is not enforced."""
    lines: list[str] = []
    exact, semantic = config.exact, config.semantic
    if not config.used:
        return ["no cache"]
    lines.append(f"answers are shared within one {config.partition}")
    if exact is not None:
        if redis:
            lines.append(
                f"exact: {exact.ttl:g} s in Redis; max_entries, max_bytes and evict are not applied there, Redis's own "
                "maxmemory settings are"
            )
        else:
            lines.append(
                f"exact: {exact.ttl:g} s in each process's memory, at most {exact.max_entries} entries, {exact.evict}"
            )
    if semantic is not None:
        where = "in Qdrant" if is_server(qdrant) else f"on disk in {qdrant}" if kept_on_disk(qdrant) else "in memory"
        lines.append(
            f"semantic: {semantic.ttl:g} s {where}, served from a similarity of {semantic.threshold:g} unless a veto "
            "(number, negation, time, antonym, name, order ...) tells the questions apart; single questions only"
        )
        lines.append(
            f"semantic: max_false_hit_rate {semantic.max_false_hit_rate:g} and verify_sample {semantic.verify_sample:g} "
            "are not enforced yet: the threshold is the one configured, and the share of wrong hits is not measured"
        )
    return lines


def is_server(qdrant: str) -> bool:
    return qdrant.startswith(("http://", "https://"))


def kept_on_disk(qdrant: str) -> bool:
    return qdrant != ":memory:" and not is_server(qdrant)


def _bounds(where: str, ttl: float, entries: int, size: int) -> Sequence[str]:
    found = []
    if not 0 < ttl <= 365 * 86400:
        found.append(f"{where}.ttl: {ttl:g} s is not between 0 and a year")
    if not 1 <= entries <= 10_000_000:
        found.append(f"{where}.max_entries: {entries} is not between 1 and 10000000")
    if size < 1024 * 1024:
        found.append(f"{where}.max_bytes: {size} bytes are less than 1MiB, the least that holds one long answer")
    return found
