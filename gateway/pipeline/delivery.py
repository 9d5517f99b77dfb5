"""One answer on its way to the client, and the commit point.

Until the first released content, nothing of it is sent: dispatch may try another target, and a refusal may still be a
clean 4xx. From then on only an in-stream error or a content-filter ending is left.

Two things are committed to, one after the other: the client's headers, also by a sign of life while it waits, and this
answer's content. Another target may be tried until the second; how a fault or a refusal is told goes by the first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from gateway.core.errors import GatewayFault, Internal, StreamCut
from gateway.core.events import Blocked, Failed, Frame
from gateway.core.exchange import Exchange
from gateway.core.ports import Outlet, Session, Transform
from gateway.pipeline.keepalive import Keepalive, Waiting, kept_alive
from gateway.pipeline.seen import CONTENT, Seen
from gateway.pipeline.stream import Stream
from gateway.pipeline.trial import Cost, spent

_MOST_KEPT = 65_536
"""Batches of one answer that are kept to be gone through again."""


class Client(Waiting, Protocol):
    """The client's end of the connection, as the HTTP edge offers it."""

    committed: bool
    """Headers are out."""

    async def write(self, data: bytes, content_type: str, *, last: bool, streaming: bool) -> None:
        """Sends, headers first if they are not out. Returns when the server took the bytes: slow readers slow us."""
        ...


class Delivery:
    """The response side of an exchange: one `begin` for each attempt, then batches of frames, then done."""

    def __init__(
        self,
        exchange: Exchange,
        client: Client,
        transforms: Sequence[Transform],
        outlet: Callable[[Exchange], Outlet],
        cost: Cost,
    ) -> None:
        self._exchange = exchange
        self._client = client
        self._transforms = transforms
        self._make_outlet = outlet
        self.cost = cost
        self.committed = False
        """Something of an answer's content is out."""
        self._alive: Keepalive | None = None
        self.begin()

    def keep_alive(self, beat: bytes, seconds: float) -> None:
        """From here on the client gets signs of life while nothing is released. See `keepalive`."""
        if self._alive is None:
            self._alive = kept_alive(self._exchange, self._client, beat, seconds)
        elif seconds != self._alive.seconds:
            self._alive.every(seconds)

    def begin(self, seen: Seen | None = None) -> None:
        """Starts afresh for an attempt; what an earlier one left unsent is forgotten. `seen` keeps what it tells. Sessions
        are opened at the first frame: by then it is settled whose answer it is."""
        self._stream: Stream | None = None
        self._outlet: Outlet | None = None
        self._unsent: list[bytes] = []
        self._kept: list[Sequence[Frame]] = []
        """Everything that came, until something of it is out."""
        self._content = False
        self.seen = seen or Seen(self._exchange.clock.now)
        self.seen.again()
        self.blocked: Blocked | None = None
        self.done = False
        self.sent = False
        """The last byte of a whole answer is out: whatever goes wrong from here on, there is nothing left to tell."""

    def _open(self) -> tuple[Stream, Outlet]:
        if self._stream is None or self._outlet is None:
            exchange = self._exchange
            opened = (transform.open(exchange) for transform in self._transforms)
            sessions: list[Session] = [session for session in opened if session is not None]
            self._stream, self._outlet = Stream(sessions), self._make_outlet(exchange)
        return self._stream, self._outlet

    async def again(self) -> bool:
        """The same answer through new sessions, as far as it came: one that stopped it is to let it pass now. False if
        too much has come to be kept; then nothing was done."""
        kept = self._kept
        if len(kept) >= _MOST_KEPT:
            return False
        self.begin(self.seen)
        for batch in kept:
            await self.push(batch)
            if self.over:
                break
        return True

    @property
    def over(self) -> bool:
        """Nothing more can come of this answer: it is whole, or a check stopped it."""
        return self.done or self.blocked is not None

    async def push(self, batch: Sequence[Frame]) -> None:
        """Takes the frames that arrived together; sends what may go in one piece.

        Raises the stream's own fault, with everything that was released before it already sent.
        """
        stream, outlet = self._stream, self._outlet
        if stream is None or outlet is None:
            stream, outlet = self._open()
        for frame in batch:
            self.seen.note(frame.events)
        if self._kept or not self.committed:
            self._keep(batch)
        pieces: list[bytes] = []
        fault: Exception | None = None
        for frame in batch:
            out = await stream.push(frame)
            ended = stream.ended
            if ended is not None:
                out = Frame(out.events[:-1], None, out.dialect)
                fault = ended.error if type(ended) is Failed else None
                self.blocked = ended if type(ended) is Blocked else None
            if out.events:
                pieces.append(outlet.push(out))
                self._content = self._content or any(type(event) in CONTENT for event in out.events)
            if ended is not None or stream.finished:
                break
        if stream.finished:
            fault = self._finish(pieces, outlet)
        await self._send(pieces, outlet, last=self.done)
        if fault is not None:
            raise fault if isinstance(fault, GatewayFault) else Internal("The answer could not be read.") from fault

    def _keep(self, batch: Sequence[Frame]) -> None:
        if self.committed:
            self._kept.clear()
        elif len(self._kept) < _MOST_KEPT:
            self._kept.append(batch)

    def _finish(self, pieces: list[bytes], outlet: Outlet) -> GatewayFault | None:
        """Adds the ending. A whole answer may still be one that the client's dialect cannot tell: its fault, to be told
        after what is out already; raised when nothing is."""
        self._settle_cost()
        try:
            pieces.append(outlet.finish())
        except GatewayFault as untold:
            if not self.committed:
                raise
            return untold
        self.done = True
        return None

    def end(self) -> None:
        """The upstream's frames are over. Raises `StreamCut` unless the answer was whole or was blocked."""
        if not self.done and self.blocked is None:
            raise StreamCut("The upstream's answer broke off before its end.")

    async def quiet(self) -> None:
        """No more signs of life: what comes next is the last word."""
        if self._alive is not None:
            await self._alive.end()

    async def _last_words(self) -> Outlet:
        """The outlet that ends what is out. What another one has written and nobody was sent is no part of that."""
        await self.quiet()
        return self._open()[1] if self.committed else self._make_outlet(self._exchange)

    async def fail(self, fault: GatewayFault) -> None:
        """After the headers are out: the in-stream error."""
        outlet = await self._last_words()
        await self._client.write(outlet.fail(fault), outlet.content_type, last=True, streaming=True)

    async def block(self, blocked: Blocked) -> None:
        """After the headers are out: the content-filter ending."""
        outlet = await self._last_words()
        await self._client.write(outlet.block(blocked), outlet.content_type, last=True, streaming=True)

    def _settle_cost(self) -> None:
        exchange = self._exchange
        usage = exchange.usage = self.seen.usage
        before = [attempt.cost_usd for attempt in exchange.attempts]
        exchange.cost_usd = spent([*before, self.cost(usage, exchange.calling)])

    async def _send(self, pieces: list[bytes], outlet: Outlet, *, last: bool) -> None:
        if not self._content:
            self._unsent.extend(pieces)
            return
        if self._unsent:
            pieces = self._unsent + pieces
            self._unsent = []
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if not data and not last:
            return
        exchange = self._exchange
        if exchange.ttft is None:
            exchange.ttft = exchange.elapsed()
        alive = self._alive
        if alive is not None and alive.hold():
            await alive.settled()
        self.committed = True
        await self._client.write(data, outlet.content_type, last=last, streaming=outlet.streaming)
        self.sent = last
        if alive is not None:
            if last:
                alive.stop()
            else:
                alive.resume()
