"""A circuit breaker: after a few failures in a row nothing is asked for a while, then one call tries again."""

from __future__ import annotations

from gateway.core.clock import Clock


class Breaker:
    """Closed, open until a time, or half open with one trial under way.

    Every admitted call must end in exactly one of `succeeded`, `failed` and `abandoned` (cancelled: says nothing).
    """

    __slots__ = ("_cooldown", "_failures", "_limit", "_longest", "_now", "_shortest", "_trial", "_until")

    def __init__(self, clock: Clock, *, failures: int = 3, cooldown: float = 1.0, longest: float = 5.0) -> None:
        self._now = clock.now
        self._limit = failures
        self._shortest = cooldown
        self._longest = longest
        self._cooldown = cooldown
        self._failures = 0
        self._until: int | None = None
        self._trial = False

    @property
    def open(self) -> bool:
        """Also while a trial is under way."""
        return self._until is not None

    def admits(self) -> bool:
        """May a call go out now? While open: one, after the cool-down."""
        if self._until is None:
            return True
        if self._trial or self._now() < self._until:
            return False
        self._trial = True
        return True

    def succeeded(self) -> None:
        self._failures = 0
        self._until = None
        self._trial = False
        self._cooldown = self._shortest

    def failed(self) -> None:
        self._failures += 1
        if self._trial:
            self._cooldown = min(self._longest, self._cooldown * 2)
        if self._trial or self._failures >= self._limit:
            self._until = self._now() + int(self._cooldown * 1e9)
        self._trial = False

    def abandoned(self) -> None:
        self._trial = False
