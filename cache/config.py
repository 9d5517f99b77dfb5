"""`routes.<name>.cache` of the configuration, what can be wrong with it, and what it means in plain words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from cache.backends.evict import Policy
from cache.backends.near import LONGEST
from cache.bounds import NEVER, needed
from cache.key import Scope
from gateway.core.units import Duration, Size

_MOST_TAGS = 16
_LONGEST_TAG = 128
_MEMORY_ROWS = 50_000
"""Above this a scan of one partition takes 4 ms of the event loop and more: that is a Qdrant server's work."""


class NearConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A small tier in each process's memory in front of Redis. What another process refreshes is served here for up to `ttl`
    more; what it purges, for a second or two."""

    max_entries: int = 500
    ttl: Duration = Duration(2.0)


class ExactConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The bounds and `evict` hold for each process's memory; in Redis its own `maxmemory` rules."""

    ttl: Duration = Duration(3600.0)
    max_entries: int = 10_000
    max_bytes: Size = Size(64 * 1024 * 1024)
    max_bytes_per_tenant: Size | None = None
    """What one tenant may hold of it; without, all of it as long as nobody else needs room."""
    evict: Policy = "lru"
    near: NearConfig | None = None
    """Only with Redis."""


REQUIRED = "required"
ASSUME = "assume"


class SemanticConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`max_false_hit_rate`: hits are served only where it is known, with 95 % confidence, that no larger share is wrong."""

    ttl: Duration = Duration(3600.0)
    threshold: float = 0.93
    """How sure a candidate must be at least: the verifier's score, or for an encoder it does not know the cosine."""
    max_false_hit_rate: float = 0.01
    verify_sample: float = 0.02
    """The share of hits that are not served but compared with a fresh answer."""
    evidence: str = REQUIRED
    """`required`: in shadow until enough would-be hits were right. `assume`: the operator's word, until disproved. Else a
    file of `tidegate eval semantic-cache --write-evidence`, beside the configuration."""
    max_entries: int = 10_000
    max_bytes: Size = Size(128 * 1024 * 1024)
    max_temperature: float = 1.0
    """A request that asks for more is not answered from a similar one."""


class CacheConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One route's caches. `partition`: who may share answers."""

    partition: Scope = "user"
    tags: tuple[str, ...] = ()
    """Of every entry of this route, beside those of its request (`x-tidegate-tags`): for purges."""
    exact: ExactConfig | None = None
    semantic: SemanticConfig | None = None

    @property
    def used(self) -> bool:
        return self.exact is not None or self.semantic is not None


def problems(
    config: CacheConfig, path: str, *, qdrant: str = ":memory:", workers: int = 1, base: Path | None = None
) -> list[str]:
    """Every error, as `path: what is wrong`. `path` is where this stands: `routes.default.cache`; `base` the folder of the
    configuration, if files it names are to be looked for."""
    found: list[str] = []
    exact, semantic = config.exact, config.semantic
    if exact is not None:
        found += bounds(f"{path}.exact", exact.ttl, exact.max_entries, exact.max_bytes)
        found += _exact_bounds(f"{path}.exact", exact)
    if len(config.tags) > _MOST_TAGS or any(not tag or len(tag) > _LONGEST_TAG for tag in config.tags):
        found.append(f"{path}.tags: at most {_MOST_TAGS} tags of 1 to {_LONGEST_TAG} characters")
    if semantic is not None:
        where = f"{path}.semantic"
        found += bounds(where, semantic.ttl, semantic.max_entries, semantic.max_bytes)
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
        if (
            base is not None
            and semantic.evidence not in (REQUIRED, ASSUME)
            and not (base / semantic.evidence).is_file()
        ):
            found.append(
                f"{where}.evidence: {semantic.evidence!r} is neither {REQUIRED!r} nor {ASSUME!r} nor a file beside the "
                "configuration; make one with `tidegate eval semantic-cache --write-evidence`"
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
        lines += _describe_exact(exact, redis=redis)
    if semantic is not None:
        where = "in Qdrant" if is_server(qdrant) else f"on disk in {qdrant}" if kept_on_disk(qdrant) else "in memory"
        lines.append(
            f"semantic: {semantic.ttl:g} s {where}, from a score of {semantic.threshold:g} on, unless a veto "
            "(number, negation, time, antonym, name, order ...) tells the questions apart; single questions only"
        )
        lines.append(_served(semantic))
    return lines


def _describe_exact(exact: ExactConfig, *, redis: bool) -> list[str]:
    if not redis:
        each = exact.max_bytes_per_tenant
        shared = f"{each} bytes of one tenant" if each is not None else "who holds most gives way"
        unused = ["exact: near is for what is in Redis, and there is none: it has no effect"] if exact.near else []
        return [
            *unused,
            f"exact: {exact.ttl:g} s in each process's memory, at most {exact.max_entries} entries, {exact.evict}, "
            f"{shared}; identical requests wait for each other in each process, and a purge reaches the one that is asked",
        ]
    lines = [
        f"exact: {exact.ttl:g} s in Redis; max_entries, max_bytes, max_bytes_per_tenant and evict are not applied there, "
        "Redis's own maxmemory settings are; identical requests wait for each other in all processes"
    ]
    if exact.near is not None:
        lines.append(
            f"exact: {exact.near.max_entries} entries also in each process's memory, which serves what is purged elsewhere "
            f"for up to {exact.near.ttl:g} s more"
        )
    return lines


def _served(semantic: SemanticConfig) -> str:
    rate, sample = semantic.max_false_hit_rate, semantic.verify_sample
    checked = (
        f"{100 * sample:g} % of hits are compared with a fresh answer" if sample else "no hit is compared afterwards"
    )
    if semantic.evidence == ASSUME:
        return f"semantic: served at once, on your word, until more than {100 * rate:g} % are proved wrong; {checked}"
    known = "" if semantic.evidence == REQUIRED else f" (with what {semantic.evidence} holds)"
    least = needed(rate)
    after = f"at least {least} would-be hits were compared and" if least < NEVER else "never, since"
    return (
        f"semantic: in shadow, every question going to the model, until {after} at most {100 * rate:g} % can be wrong "
        f"with 95 % confidence{known}; {checked}"
    )


def is_server(qdrant: str) -> bool:
    return qdrant.startswith(("http://", "https://"))


def kept_on_disk(qdrant: str) -> bool:
    return qdrant != ":memory:" and not is_server(qdrant)


def bounds(where: str, ttl: float, entries: int, size: int) -> Sequence[str]:
    found = []
    if not 0 < ttl <= 365 * 86400:
        found.append(f"{where}.ttl: {ttl:g} s is not between 0 and a year")
    if not 1 <= entries <= 10_000_000:
        found.append(f"{where}.max_entries: {entries} is not between 1 and 10000000")
    if size < 1024 * 1024:
        found.append(f"{where}.max_bytes: {size} bytes are less than 1MiB, the least that holds one long answer")
    return found


def _exact_bounds(where: str, exact: ExactConfig) -> list[str]:
    found = []
    each = exact.max_bytes_per_tenant
    if each is not None and not 64 * 1024 <= each <= exact.max_bytes:
        found.append(f"{where}.max_bytes_per_tenant: {each} bytes are not between 64KiB and max_bytes")
    near = exact.near
    if near is not None and not 0 < near.ttl <= LONGEST:
        found.append(f"{where}.near.ttl: {near.ttl:g} s is not between 0 and {LONGEST:g} s")
    if near is not None and not 1 <= near.max_entries <= 100_000:
        found.append(f"{where}.near.max_entries: {near.max_entries} is not between 1 and 100000")
    return found
