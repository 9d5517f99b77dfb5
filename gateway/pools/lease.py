"""One call at one endpoint: counted from the pick to its end, whatever ends it, and learned from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.clock import Clock
from gateway.pools.chain import ROOT_BLOCKS, Prefix
from gateway.pools.cost import Estimate
from gateway.pools.learned import Common

if TYPE_CHECKING:
    from gateway.pools.endpoint import Endpoint

FAILED_WAIT = 5.0
"""Seconds that a call counts as having waited when it failed: one that fails fast must not look like a quick one."""
OVERDUE = 1.5
"""Of the wait that was expected: after that a prompt is taken as read, of a call that only answers when all is written."""
LONGEST_READ = 60.0
"""Seconds; the same, whatever was expected."""
QUIET = 0.25
"""Of a prompt's own tokens: if less than this is to be read before it, the wait is its own."""


class Lease:
    """Made by `Endpoints.lease`. Its wait is measured until `answered`; it is counted until `end`, which may come more
    than once and counts once."""

    __slots__ = (
        "_blocks",
        "_cached",
        "_clock",
        "_common",
        "_expected",
        "_first",
        "_open",
        "_prompt",
        "_quiet",
        "_read",
        "_since",
        "_size",
        "_whole",
        "endpoint",
        "expires",
        "rule",
    )  # fmt: skip

    def __init__(
        self,
        endpoint: Endpoint,
        clock: Clock,
        open_: set[Lease],
        expires: int,
        rule: str,
        expected: Estimate | None = None,
        common: Common | None = None,
        prefix: Prefix | None = None,
        whole: bool = False,
    ) -> None:
        """`open_`: all leases of the pool that have not ended. `prefix`: the prompt that `expected` is for. `whole`: the
        answer comes in one piece, so that its first content says nothing of how long the prompt took."""
        self.endpoint = endpoint
        self.expires = expires
        """When it is ended for whoever forgot to; nanoseconds of the clock."""
        self.rule = rule
        self._clock = clock
        self._open = open_
        self._expected = expected
        self._common = common
        self._size = prefix.size if prefix is not None else 0
        self._blocks = prefix.blocks if prefix is not None else ()
        self._since = clock.now()
        self._first: int | None = None
        self._read = False
        self._whole = whole
        self._prompt = 0
        self._cached: int | None = None
        self._quiet = expected is not None and expected.queued <= QUIET * expected.fresh
        open_.add(self)
        endpoint.begin(expected.fresh if expected is not None else 0.0)

    @property
    def picked(self) -> str:
        """Why this endpoint, in a few words and numbers: `prefix 812/1024 tok, queue 0 tok, 0.11 s`."""
        told = self._expected
        if told is None:
            return self.rule
        return (
            f"{self.rule} {told.matched:.0f}/{told.prompt:.0f} tok, queue {told.queued:.0f} tok, {told.wait:.2f} s"
            + (", reading stale" if told.stale else "")
        )

    @property
    def due(self) -> int:
        """When its prompt will surely have been read; nanoseconds of the clock."""
        expected = self._expected
        seconds = min(LONGEST_READ, OVERDUE * expected.wait) if expected is not None else 0.0
        return self._since + int(seconds * 1e9)

    def answered(self) -> None:
        """The first content is here: its prompt was read."""
        if self._first is not None or self not in self._open:
            return
        now = self._first = self._clock.now()
        self.was_read()
        self.endpoint.waited(now, (now - self._since) / 1e9)

    def was_read(self) -> None:
        """Its prompt is not waited for any more, whether or not an answer has begun."""
        if not self._read and self in self._open:
            self._read = True
            self.endpoint.read(self._expected.fresh if self._expected is not None else 0.0)

    def usage(self, prompt: int, cached: int | None) -> None:
        """What the engine counted. `cached`: tokens of the prompt that were in its cache; None: it does not say. May come
        more than once; the last one counts, at the end."""
        self._prompt, self._cached = prompt, cached

    def refused(self, seconds: float | None) -> None:
        """It is at its limit, and wants to be left alone for `seconds`, if it says so. The call still has to be ended."""
        self.endpoint.full(self._clock.now(), seconds)

    def end(self, ok: bool | None) -> None:
        """However the call ended. `ok` as for `Endpoint.end`."""
        if self not in self._open:
            return
        self.was_read()
        self._open.discard(self)
        endpoint, now = self.endpoint, self._clock.now()
        if self._first is None:
            seconds = (now - self._since) / 1e9
            if ok is not None and self._expected is not None:
                endpoint.known.held.drop(self._blocks[self._expected.own :])
            if ok is False:
                endpoint.waited(now, max(FAILED_WAIT, seconds))
            elif seconds > endpoint.expected(now):  # given up: it would have taken longer than that
                endpoint.waited(now, seconds)
        else:
            self._learn(now, good=ok is True)
        endpoint.end(self._clock, ok)
        self._blocks = ()  # whoever still holds a lease that is over holds no prompt with it

    def _learn(self, now: int, *, good: bool) -> None:
        expected, common = self._expected, self._common
        if expected is None or common is None or self._first is None:
            return
        known = self.endpoint.known
        queued, fresh = expected.queued, expected.fresh
        if self._prompt:
            common.counted(self._size, self._prompt)
            if self._cached is not None:
                if expected.queued <= QUIET * expected.prompt:  # else what we sent there may not have been read yet
                    known.told(expected.matched, self._cached, common)
                if known.hits.tells and len(self._blocks) >= ROOT_BLOCKS:  # shorter: a part of a block is much of it
                    common.found(expected.matched / expected.prompt, self._cached / self._prompt)
            if expected.prompt:  # guesses are in tokens of a guessed size, which the engine has just told better
                queued, fresh = (guess * self._prompt / expected.prompt for guess in (queued, fresh))
            if self._cached is not None and known.hits.tells:
                fresh = float(max(0, self._prompt - self._cached))
        if not self._whole:
            known.speed.read(queued + fresh, (self._first - self._since) / 1e9, now, quiet=self._quiet)
        if good:
            read = self._since + int(expected.wait * 1e9) if self._whole else self._first
            known.speed.held(max(0, now - read) / 1e9)
