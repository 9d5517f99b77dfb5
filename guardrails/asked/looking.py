"""One check at its work: on the event loop where that is quick, in the pool where it is not, outside where it asks; each
time within its deadline, behind a breaker, and only at what it does not remember.

What counts against a check, so that it is left alone for a while, is what it does itself: it crashes, it hangs, what it
asks does not answer. A text that takes too long, or a client that gives us less time than the check may have, does not:
whoever sends such would switch the check off for everybody."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future

from gateway.core.breaker import Breaker
from gateway.core.clock import Clock
from gateway.core.exchange import Exchange
from gateway.core.request import Slot
from gateway.core.verdict import Side
from guardrails.asked.remembering import Memory
from guardrails.asked.screen import CLEAN, INLINE, Finding, InputCheck, Inspector
from guardrails.asking.not_scanned import NotScanned
from guardrails.hiding.vault import blanked

FAILURES = 5
REST = 10.0
LONGEST_REST = 60.0
OF_THE_TEXT = frozenset({"too_long", "too_many", "unclear", "busy", "upstream_rejected", "context_overflow"})
"""Reasons for not having looked that say nothing against what was asked: the text was the reason, or that many were asked
at one time. Whoever sends such would else switch the check off for everybody."""
GRACE = 0.25
"""Seconds that a thread may go on after the deadline before it counts as stuck. Nobody can stop a thread."""
MOST_STUCK = 1
"""Threads that one check may have stuck. The pool has more, so the other checks can go on."""

SIDES: Sequence[Side] = ("input", "retrieved")

Looked = tuple[Sequence[Finding] | None, str]
"""(one finding for each text, "") or (None, why not)."""


class Work:
    """One check on one side of one request: what it looks at, and what is known of that already."""

    __slots__ = ("findings", "keys", "look", "missing", "order", "side", "slots", "start", "texts")

    def __init__(self, look: Look, order: int, side: Side, slots: Sequence[Slot], exchange: Exchange) -> None:
        """`order`: the place among all of the request."""
        self.look = look
        self.order = order
        self.side = side
        self.slots = slots
        self.start = exchange.clock.now()
        self.texts = [blanked(slot.text) if slot.kind == "tool_arguments" else slot.text for slot in slots]
        self.keys: Sequence[bytes] = ()
        self.findings: Sequence[Finding | None] = ()
        self.missing: Sequence[int] | None = None
        """Places of the texts that are not remembered; None for all."""
        if look.memory is not None:
            self.keys, self.findings = look.memory.recall(owner_of(exchange), self.texts)
            self.missing = [at for at, finding in enumerate(self.findings) if finding is None]

    @property
    def unknown(self) -> Sequence[str]:
        return self.texts if self.missing is None else [self.texts[at] for at in self.missing]


def owner_of(exchange: Exchange) -> str:
    """Who asks: the key, and for whom."""
    return f"{exchange.principal.key_id}\n{exchange.user}"


def whose(check: InputCheck, side: Side) -> object:
    """Checks for which this is equal look at the same texts of a request."""
    return side if side == "retrieved" or check.masks else check.scope


class Look:
    """One check. Serves every exchange; what it holds is its breaker, its memory and the threads that it has stuck."""

    def __init__(self, check: InputCheck, pool: Executor, clock: Clock) -> None:
        self.check = check
        self._pool = pool
        self.sides = [(side, whose(check, side)) for side in SIDES if side in check.sides]
        self._stuck: list[Future[Sequence[Finding]]] = []
        self.memory = Memory() if check.remembers else None
        self.breaker = Breaker(clock, failures=FAILURES, cooldown=REST, longest=LONGEST_REST)

    def stats(self) -> Mapping[str, float]:
        """Nothing for what has neither memory nor anything to wait for."""
        out: dict[str, float] = {}
        if self.memory is not None:
            out["entries"] = len(self.memory)
        if self.check.asking is not None or (self.check.inspector is not None and self.check.inspector.inline < INLINE):
            out["breaker_open"] = float(self.breaker.open)
        return out

    def at_once(self, work: Work, remaining: float) -> Looked | None:
        """What can be said without waiting; None if it must wait."""
        texts = work.texts if work.missing is None else work.unknown
        if not texts:
            return self._all(work, ()), ""
        check = self.check
        inspector = check.inspector
        if check.asking is not None or inspector is None or sum(map(len, texts)) > inspector.inline:
            return None
        try:
            return self._all(work, inspector.inspect(texts, time.monotonic() + min(check.deadline, remaining))), ""
        except Exception as error:
            return None, _reason(error)

    async def wait(self, exchange: Exchange, work: Work) -> Looked:
        """Looks in the pool, then asks. Never raises but for being cancelled."""
        if not self._admits():
            return None, "breaker_open"
        allowed = min(self.check.deadline, exchange.remaining())
        try:
            found = await self._findings(exchange, work.unknown, allowed)
        except Exception as error:
            return None, _reason(error)
        except BaseException:
            self.breaker.abandoned()
            raise
        try:
            looked = self._all(work, found)
        except ValueError as error:
            self.breaker.failed()
            return None, _reason(error)
        self.breaker.succeeded()
        return looked, ""

    def _admits(self) -> bool:
        if self._stuck:
            self._stuck = [job for job in self._stuck if not job.done()]
            if len(self._stuck) >= MOST_STUCK:
                return False
        return self.breaker.admits()

    async def _findings(self, exchange: Exchange, texts: Sequence[str], allowed: float) -> Sequence[Finding]:
        """Every failure has been counted, or not, when it is raised."""
        check = self.check
        until = time.monotonic() + allowed
        found: Sequence[Finding] = [CLEAN] * len(texts)
        if check.inspector is not None:
            found = await self._in_pool(check.inspector, texts, until, allowed)
        if check.asking is None:
            return found
        seconds = max(0.0, until - time.monotonic())
        try:
            async with asyncio.timeout(seconds):
                return await check.asking.ask(exchange, texts, found, seconds)
        except Exception as error:
            early = isinstance(error, TimeoutError) and allowed < check.deadline  # the client's time was up
            self._count(failed=not early and _reason(error) not in OF_THE_TEXT)
            raise

    async def _in_pool(
        self, inspector: Inspector, texts: Sequence[str], until: float, allowed: float
    ) -> Sequence[Finding]:
        """The deadline also covers the wait for a free thread."""
        try:
            job = self._pool.submit(inspector.inspect, texts, until)
            return await asyncio.wait_for(asyncio.wrap_future(job), max(0.0, until - time.monotonic()))
        except (TimeoutError, NotScanned):
            if job.cancel():  # it never began: all threads are taken
                self._count(failed=allowed >= self.check.deadline)
            elif job.done():
                self.breaker.abandoned()  # it gave the text up itself
            else:
                asyncio.get_running_loop().call_later(GRACE, self._late, job)
            raise
        except Exception:
            self.breaker.failed()
            raise
        except asyncio.CancelledError:
            job.cancel()
            raise

    def _late(self, job: Future[Sequence[Finding]]) -> None:
        """What became of a job whose deadline passed while it ran."""
        self._count(failed=not job.done())
        if not job.done():
            self._stuck.append(job)

    def _count(self, *, failed: bool) -> None:
        if failed:
            self.breaker.failed()
        else:
            self.breaker.abandoned()

    def _all(self, work: Work, found: Sequence[Finding]) -> Sequence[Finding]:
        """What was known and what was found, in the order of the texts; remembered from here on. Raises ValueError if not
        every text was looked at."""
        if len(found) != len(work.texts if work.missing is None else work.missing):
            raise ValueError(f"the check {self.check.name!r} must give one finding for each text")
        if self.memory is None or work.missing is None:
            return found
        self.memory.keep([work.keys[at] for at in work.missing], found)
        rest = iter(found)
        return [finding if finding is not None else next(rest) for finding in work.findings]


def _reason(error: Exception) -> str:
    if isinstance(error, NotScanned):
        return error.reason
    return "timeout" if isinstance(error, TimeoutError) else "crashed"
