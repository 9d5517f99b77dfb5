"""One request and all that is known of it while it lasts. Passed from stage to stage; nothing here is ambient."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping

import msgspec

from gateway.core.answer import Answer
from gateway.core.clock import Clock
from gateway.core.events import Usage
from gateway.core.facts import Facts
from gateway.core.plan import Plan, Target
from gateway.core.receipt import Attempt, CacheResult, Stage
from gateway.core.request import Operation, Request
from gateway.core.verdict import Verdict


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks: the virtual key, and what it may do. `open` access is the principal with the id `anonymous`."""

    key_id: str
    tenant: str = "default"
    models: frozenset[str] | None = None
    """Aliases it may ask for; None means all."""
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


class Exchange:
    """The state of one exchange.

    `verdicts`, `attempts`, `timeline`, `degraded` and `warnings` only ever grow. `answer` is set by the spine when a
    decider answered. `headers` are the client's, lower-case names, credentials removed before any stage sees them.
    """

    __slots__ = (
        "answer",
        "attempts",
        "cache",
        "calling",
        "charges",
        "cleanup",
        "clock",
        "cost_usd",
        "credential",
        "deadline",
        "degraded",
        "dialect",
        "facts",
        "headers",
        "held_chars",
        "id",
        "intent",
        "intent_score",
        "opened",
        "operation",
        "permitted",
        "plan",
        "principal",
        "read_body",
        "request",
        "response_headers",
        "revision",
        "route",
        "served_model",
        "session",
        "started",
        "tags",
        "timeline",
        "trace",
        "ttft",
        "usage",
        "user",
        "verdicts",
        "waited",
        "warnings",
    )

    def __init__(
        self,
        *,
        id: str,
        dialect: str,
        operation: Operation,
        headers: Mapping[str, str],
        credential: str | None,
        read_body: Callable[[], Awaitable[bytes]],
        clock: Clock,
        trace: Trace,
        timeout: float,
    ) -> None:
        self.id = id
        self.dialect = dialect
        self.operation: Operation = operation
        self.headers = headers
        self.credential = credential
        """The client's key. Read by admission only, which clears it."""
        self.read_body = read_body
        self.clock = clock
        self.trace = trace
        self.started = clock.now()
        """Monotonic nanoseconds."""
        self.opened = clock.wall()
        """Unix nanoseconds."""
        self.deadline = self.started + int(timeout * 1e9)
        """Monotonic nanoseconds."""
        self.principal = ANONYMOUS
        self.user = ""
        self.session = ""
        self.tags: tuple[str, ...] = ()
        self.request: Request | None = None
        self.permitted = False
        """The model asked for is one of ours and the key may use it: from here on its name is safe as a label."""
        self.route = ""
        self.revision = ""
        """Digest of the route's configuration; part of every cache key."""
        self.plan: Plan | None = None
        self.intent = ""
        self.intent_score: float | None = None
        self.cache = CacheNote()
        self.answer: Answer | None = None
        self.facts = Facts()
        self.verdicts: list[Verdict] = []
        self.attempts: list[Attempt] = []
        self.timeline: list[Stage] = []
        self.degraded: list[str] = []
        self.warnings: list[str] = []
        self.response_headers: dict[str, str] = {}
        """Extra headers for the client, set by any stage before the commit point."""
        self.cleanup: list[Callable[[], None]] = []
        """Run once, when the exchange ends, however it ends: counters given back, leases released."""
        self.charges: list[str] = []
        """Names of the token counters to charge when the answer's usage is known."""
        self.calling: Target | None = None
        """The target of the attempt under way."""
        self.served_model = ""
        """The alias whose target answered."""
        self.usage: Usage | None = None
        self.cost_usd: float | None = None
        self.ttft: int | None = None
        """Nanoseconds from `started` until the first content was handed to the server."""
        self.waited = 0
        """Nanoseconds spent waiting for upstreams, up to the first content."""
        self.held_chars = 0

    def asked(self) -> Request:
        """The request, once it was read. A stage before `receive` that calls this is a bug."""
        assert self.request is not None, "no stage before `receive` may look at the request"
        return self.request

    def elapsed(self) -> int:
        """Nanoseconds since the exchange opened."""
        return self.clock.now() - self.started

    def remaining(self) -> float:
        """Seconds until the deadline; never negative."""
        return max(0.0, (self.deadline - self.clock.now()) / 1e9)

    def __repr__(self) -> str:
        return f"Exchange({self.id} {self.dialect} {self.operation} route={self.route!r})"


def new_trace_id() -> str:
    return secrets.token_hex(16)


def new_span_id() -> str:
    return secrets.token_hex(8)
