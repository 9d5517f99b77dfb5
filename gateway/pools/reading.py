"""What an engine's own metrics said of one endpoint, the last time they were read."""

from __future__ import annotations

import msgspec

STALE_AFTER = 10.0
"""Seconds after which a reading says nothing of the load any more. Our own counts then go on alone: a metrics page that
does not answer never stops calls."""


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """Everything is None where the engine does not tell it. A reading is a slow correction of our own counts, which
    know at once what we sent: it is seconds old, and others' calls are in it too."""

    at: int
    """Nanoseconds of the clock, when it was read."""
    waiting: float | None = None
    """Calls in the engine's queue."""
    running: float | None = None
    kv: float | None = None
    """Share of the cache that is in use, 0 to 1."""
    block_tokens: int | None = None
    blocks: int | None = None
    """The size of the prefix cache: blocks of `block_tokens` tokens."""
    slots: int | None = None
    """Calls it works on at once."""
    started: float | None = None
    """When its process started, in seconds since 1970; of an engine that does not tell it, when we first saw it, or saw that
    it had been away. A later one means that its caches are empty."""
    prompt_tokens: float | None = None
    cached_tokens: float | None = None
    """Counters since it started: tokens of prompts, and those of them that were in its cache."""
    adapters: frozenset[str] = frozenset()
    """LoRA adapters that are loaded."""
    loading: frozenset[str] = frozenset()
    """Adapters that calls wait for."""
    most_adapters: int | None = None
    models: frozenset[str] | None = None
    """All names that it answers to, adapters included; None where it does not say."""

    @property
    def tells_load(self) -> bool:
        """Whether anything in it can grow old: where metrics are off it only says since when an engine runs."""
        return not (self.waiting is self.running is self.kv is None)

    def stale(self, now: int) -> bool:
        return now - self.at > STALE_AFTER * 1e9
