"""One request and all that is known of it while it lasts. Passed from stage to stage; nothing here is ambient."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
from collections.abc import Awaitable, Callable, Mapping

import msgspec

from gateway.core.answer import Answer, Handoff
from gateway.core.clock import Clock
from gateway.core.events import Usage
from gateway.core.facts import Facts
from gateway.core.plan import Plan, Target
from gateway.core.priority import NORMAL, Priority
from gateway.core.receipt import Attempt, CacheResult, Stage
from gateway.core.request import Operation, Request
from gateway.core.response import Response, said
from gateway.core.verdict import Verdict


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks: the virtual key, and what it may do. `open` access is the principal with the id `anonymous`."""

    key_id: str
    tenant: str = "default"
    models: frozenset[str] | None = None
    """Aliases it may ask for; None means all."""
    priority: Priority | None = None
    """Whether its requests go before others'; None: the route says."""
    admin: bool = False
    rpm: int | None = None
    tpm: int | None = None
    concurrency: int | None = None
    budget_usd: float | None = None
    names_users: bool = True
    """May say on whose behalf it asks (`x-tidegate-user`); else the key itself is the user."""


ANONYMOUS = Principal(key_id="anonymous")


class Trace(msgspec.Struct, frozen=True):
    """W3C trace context: ids in lower-case hex. `parent` is empty when the client sent none."""

    trace_id: str
    span_id: str
    parent: str = ""
    sampled: bool = True


class CacheNote(msgspec.Struct):
    """What the caches did, for headers and the receipt."""

    result: CacheResult = "bypass"
    reason: str = ""
    id: str = ""
    similarity: float | None = None
    age: float | None = None
    saved: Usage | None = None


class Exchange(msgspec.Struct, kw_only=True, eq=False):
    """The state of one exchange.

    `verdicts`, `attempts`, `timeline`, `degraded` and `warnings` only ever grow. `answer` is set by the spine when a
    decider answered. `headers` are the client's, lower-case names, credentials removed before any stage sees them.
    """

    id: str
    dialect: str
    operation: Operation
    headers: Mapping[str, str]
    credential: str | None
    """The client's key. Read by admission only, which clears it."""
    read_body: Callable[[], Awaitable[bytes]]
    clock: Clock
    trace: Trace
    timeout: float
    """Seconds that the whole exchange may take."""
    first_token: float | None = None
    """Seconds that the caller gives each call to begin its answer, if it says; a model's own limit may be shorter."""
    started: int = 0
    """Monotonic nanoseconds, as are all times but `opened`."""
    opened: int = 0
    """Unix nanoseconds."""
    deadline: int = 0

    principal: Principal = ANONYMOUS
    user: str = ""
    session: str = ""
    tags: tuple[str, ...] = ()
    request: Request | None = None
    permitted: bool = False
    """The model asked for is one of ours and the key may use it: from here on its name is safe as a label."""
    route: str = ""
    priority: int = NORMAL
    """An index into `core.priority.PRIORITIES`."""
    inner: bool = False
    """Part of another exchange that has its place at a model already, so it waits for none of its own."""
    revision: str = ""
    """Digest of the route's configuration; part of every cache key."""
    plan: Plan | None = None
    intent: str = ""
    intent_score: float | None = None
    action: str = ""
    """What the application is to do next, by the route's `then`."""
    tier: str = ""
    """`small` or `large`, where the route chooses by how hard a request looks."""
    tier_score: float | None = None
    left_out: list[str] = []
    """Models that were not asked, and why: `tiny: context_window`, `fast: vision`. Names and fixed words only."""
    baseline_usd: float | None = None
    """What the route's baseline model would have cost for the same tokens."""
    cache: CacheNote = msgspec.field(default_factory=CacheNote)
    answer: Answer | None = None
    handoff: Handoff | None = None
    """A person is to take over, whatever the client is told meanwhile."""
    facts: Facts = msgspec.field(default_factory=Facts)
    verdicts: list[Verdict] = []
    attempts: list[Attempt] = []
    timeline: list[Stage] = []
    degraded: list[str] = []
    warnings: list[str] = []
    response_headers: dict[str, str] = {}
    """Extra headers for the client, set by any stage before the commit point."""
    answer_status: int = 200
    """HTTP status of a good answer."""
    bytes_in: int = 0
    bytes_out: int = 0
    """Of bodies that are relayed and not understood."""
    cleanup: list[Callable[[], None]] = []
    """Run once, when the exchange ends, however it ends: counters given back, leases released."""
    charges: list[str] = []
    """Names of the token counters to charge when the answer's usage is known."""
    calling: Target | None = None
    """The target of the attempt under way."""
    revealed: bool = False
    """The attempt under way was sent originals of what is masked everywhere else, so its answer may hold them."""
    unshared: bool = False
    """The answer is for this client alone: no cache may keep it."""
    remedied: dict[str, int] = {}
    """Tries that each output check has used up of its remedies `retry` and `hedge`, by the check's name."""
    beside: asyncio.Task[Answer | None] | None = None
    """Input checks that go on while the model is called. Nothing of an answer may go out before they are done, and a
    refusal of theirs ends the call."""
    passing: set[str] = set()
    """Names of the output checks whose remedies are spent and end in `pass`: they let this answer go and flag it."""
    served_model: str = ""
    """The alias whose target answered."""
    usage: Usage | None = None
    cost_usd: float | None = None
    estimated_usd: float | None = None
    """A guess at what more was spent, on calls that were given up."""
    saved_usd: float | None = None
    """What a cached answer would have cost."""
    ttft: int | None = None
    """From `started` until the first content was handed to the server."""
    queued: int = 0
    """Nanoseconds spent waiting for a model's places."""
    waited: int = 0
    """Spent waiting for upstreams, up to the first content."""
    shadow: str = ""
    """The id of the exchange in which another model gets a copy of the request."""
    beats: int = 0
    """Signs of life that were sent while nothing of an answer was."""
    held_chars: int = 0
    """Most characters that the hold-back kept back at one time."""
    held: int = 0
    """Longest that the hold-back kept back a piece of the answer, which then went out. Nanoseconds."""

    def __post_init__(self) -> None:
        self.started = self.clock.now()
        self.opened = self.clock.wall()
        self.deadline = self.started + int(self.timeout * 1e9)

    def asked(self) -> Request:
        """The request, once it was read. A stage before `receive` that calls this is a bug."""
        assert self.request is not None, "no stage before `receive` may look at the request"
        return self.request

    def says(self, text: str) -> Response:
        """An answer of the gateway's own, for this exchange."""
        return said(text, id=self.id, model=self.asked().model, created=self.clock.wall() // 10**9)

    def elapsed(self) -> int:
        """Nanoseconds since the exchange opened."""
        return self.clock.now() - self.started

    def remaining(self) -> float:
        """Seconds until the deadline; never negative."""
        return max(0.0, (self.deadline - self.clock.now()) / 1e9)

    def __repr__(self) -> str:
        return f"Exchange({self.id} {self.dialect} {self.operation} route={self.route!r})"


# Ids name things and guard nothing, so they come from a generator seeded once from the system's randomness: a call of
# the system for each of a request's dozen ids cost as much as decoding and encoding its body.
_IDS = random.Random(secrets.randbits(256))  # noqa: S311


def new_trace_id() -> str:
    return f"{_IDS.getrandbits(128) or 1:032x}"


def new_span_id() -> str:
    return f"{_IDS.getrandbits(64) or 1:016x}"


def new_exchange_id() -> str:
    return f"tg-{_IDS.getrandbits(96):024x}"


def reseed_ids() -> None:
    """After a fork: two processes must not give out the same ids."""
    _IDS.seed(secrets.randbits(256))


os.register_at_fork(after_in_child=reseed_ids)
