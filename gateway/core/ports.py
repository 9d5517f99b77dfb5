"""The seams: what a component must be to take part. Structural types, so nothing needs to inherit from here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from gateway.core.answer import Answer
from gateway.core.errors import GatewayFault
from gateway.core.events import Blocked, Event, Frame
from gateway.core.exchange import Exchange
from gateway.core.facts import Key
from gateway.core.passing import Sending
from gateway.core.plan import Target, Timeouts
from gateway.core.receipt import Receipt
from gateway.core.request import Body, Operation, Request

if TYPE_CHECKING:
    import numpy as np

# --- the three verbs


class Decider(Protocol):
    """Request side. May rewrite the request; an `Answer` ends the phase; a `GatewayFault` ends the exchange."""

    name: str
    """Names the stage in the timeline: `admit`, `screen`, `route`, `exact_cache` ..."""
    consumes: tuple[Key[Any], ...]
    produces: tuple[Key[Any], ...]

    async def decide(self, exchange: Exchange) -> Answer | None: ...


class Session(Protocol):
    """One transform at work on one exchange's events.

    `push` gives what may go on now: the same event (clean: the frame's bytes can be relayed), others, or nothing
    (held back). `finish` gives what is still held, when the answer ended whole; after a `Blocked` or `Failed` it is not
    called and what is held is dropped. While `waiting` is true after a `push` or `finish`, the stream awaits `settle`
    and sends what it gives, before it goes on: for checks that must ask something slow.
    """

    waiting: bool

    def push(self, event: Event) -> Sequence[Event]: ...

    def finish(self) -> Sequence[Event]: ...

    async def settle(self) -> Sequence[Event]: ...


class Transform(Protocol):
    """Response side. `None` means not interested in this exchange, and costs nothing."""

    name: str
    consumes: tuple[Key[Any], ...]
    produces: tuple[Key[Any], ...]

    def open(self, exchange: Exchange) -> Session | None: ...


class Recorder(Protocol):
    """After the last byte. Can change nothing. `essential` receipts are never dropped when the queue is full."""

    name: str
    essential: bool

    async def record(self, receipt: Receipt) -> None: ...


# --- dialects: pure codecs, both directions


class Outlet(Protocol):
    """Encodes one answer for the client. Streaming outlets give bytes as they go, folding ones only at the end."""

    content_type: str
    streaming: bool

    def push(self, frame: Frame) -> bytes: ...

    def finish(self) -> bytes:
        """The end of a whole answer: the terminal frame, or the folded body. Raises UpstreamFailed for an answer that
        this dialect cannot tell."""
        ...

    def fail(self, fault: GatewayFault) -> bytes:
        """After the commit point: an in-stream error and no terminal mark."""
        ...

    def block(self, blocked: Blocked) -> bytes:
        """After the commit point: the dialect's content-filter ending."""
        ...


class Inlet(Protocol):
    """Decodes one upstream reply. Pure: fed bytes, gives frames. Raises a `GatewayFault` for bytes it cannot read."""

    def feed(self, data: bytes) -> Sequence[Frame]: ...

    def close(self) -> Sequence[Frame]:
        """At end of body. Gives the frames still buffered; `Finished` is among all frames only if the reply was whole."""
        ...


class Call(msgspec.Struct, frozen=True):
    """One HTTP call to an upstream, before auth. `path` is relative to the endpoint's base URL (`/chat/completions`)."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    stream: bool
    """The reply will be an event stream."""
    sending: Sending | None = None
    """The body, where it is sent as it comes; `body` is empty then."""


class Telling(Protocol):
    """How answers and faults are told to a client."""

    name: str
    beat: bytes
    """What a stream may carry between its events while there is nothing to say. Empty: nothing."""

    def outlet(self, exchange: Exchange) -> Outlet: ...

    def error(self, fault: GatewayFault, exchange_id: str) -> bytes: ...


class Dialect(Telling, Protocol):
    """A wire codec. The client side reads requests and writes answers; the upstream side the reverse."""

    def read(self, operation: Operation, body: Body) -> Request:
        """Checks the types of what we own; raises `BadRequest` naming the field."""
        ...

    def models(self, aliases: Sequence[str], created: int, *, one: bool = False) -> bytes:
        """The model list, or with `one` the single model object."""
        ...

    def call(self, request: Request, target: Target, stream: bool, params: Mapping[str, Any]) -> Call:
        """The request as this dialect says it, for one target. Translates when `request.dialect` is another; raises
        `Untranslatable` naming the field it cannot say. `params` is the profile's parameter table."""
        ...

    def inlet(self, request: Request, stream: bool) -> Inlet: ...

    def fault(self, status: int, headers: Mapping[str, str], body: bytes) -> GatewayFault:
        """An error reply as one of our faults. The upstream's message is kept only where it is the client's to know
        (400, 404, 413, 422), shortened."""
        ...


# --- the outside


class Reply(Protocol):
    """An upstream's reply under way. Frames end after `Finished`, `Failed`, or a raised fault.

    Frames that arrived in one read come in one batch, so that they can leave in one send.
    """

    endpoint: str
    status: int
    upstream_id: str

    def frames(self) -> AsyncIterator[Sequence[Frame]]: ...

    async def close(self) -> None:
        """Ends the call: an unfinished reply is dropped, and its connection with it, so that the upstream stops work."""
        ...


class Upstream(Protocol):
    """A provider, ready to be called. `open` returns when the reply's status is known and good, and raises a
    `GatewayFault` otherwise; it has retried once on a fresh connection if a reused one died before the first byte.

    `affinity` names what the exchange belongs to (a session, a key), for upstreams of several endpoints that keep such
    together; empty: nothing. `tenant`: whose prompts may be known to be alike. `turn` counts the calls of this exchange
    that the upstream has had already: a retry and a hedge should not meet the same endpoint again. `chose` is told the
    `host:port` that is called, and why that one, before it is: a call that is given up on can then be said to have hung
    there."""

    name: str
    trusted: bool
    """`trust: internal`: private data may stay unmasked if the route says so."""

    async def open(
        self,
        request: Request,
        target: Target,
        timeouts: Timeouts,
        *,
        traceparent: str,
        headers: Mapping[str, str],
        affinity: str = "",
        tenant: str = "",
        turn: int = 0,
        chose: Callable[[str, str], None] = ...,
    ) -> Reply: ...


class Embed(Protocol):
    """Text to unit vectors. `id` names model, precision and pooling: it is part of every key and file made with it."""

    id: str
    dim: int

    def embed(self, texts: Sequence[str]) -> Awaitable[np.ndarray[Any, Any]]:
        """Shape (len(texts), dim), float32, rows of length 1. Runs off the event loop; raises TimeoutError when the
        encoder is overloaded."""
        ...


class Judge(Protocol):
    """Asks one of the gateway's own models about a text, for a check. No checks run on the question itself, so there is
    no way round in a circle."""

    async def ask(self, exchange: Exchange, model: str, system: str, text: str, *, tokens: int, seconds: float) -> str:
        """The model's words. `model` is an alias of `models:`; `exchange` the one the question is about, which pays for
        it. Raises TimeoutError after `seconds`, and the `GatewayFault` of a call that failed."""
        ...


class Post(Protocol):
    """One HTTP POST of a JSON body to a service that a check or a hand-over asks."""

    async def __call__(
        self, url: str, headers: Mapping[str, str], body: bytes, *, seconds: float, most: int
    ) -> tuple[int, bytes]:
        """(status, body of at most `most` bytes). Raises TimeoutError after `seconds`, and `Unavailable` for a service
        that cannot be reached or answers too much."""
        ...


class Limiter(Protocol):
    """Counts against a limit. In memory for one process, in Redis for many."""

    degraded: bool
    """It counts for this process only, because what is shared is out of reach."""

    async def take(self, key: str, limit: int, window: float, amount: int = 1) -> float | None:
        """None if taken; else seconds until there is room."""
        ...
