"""Calls whose bodies are passed on and not understood, both ways, and their replies as frames of bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import msgspec

from gateway.core.errors import BadRequest, GatewayFault, UpstreamFailed, UpstreamRejected, UpstreamTimeout
from gateway.core.events import Event, Finished, Frame, Piece, Started
from gateway.core.passing import Passing
from gateway.core.plan import Target, Timeouts
from gateway.core.ports import Call
from gateway.core.request import Request
from gateway.dialects.json_codec import encode
from gateway.dialects.relay_usage import UsageReader
from gateway.providers.failures import fault_of, says_of_health
from gateway.providers.http_client import HttpReply
from gateway.providers.http_errors import HttpError, ReadTimeout

MOST_BYTES = 16 * 1024**3
"""Of one reply. It is never held: this only ends what would never end."""
MOST_PAGE = 16 * 1024 * 1024
"""Of one page of a list: 10,000 files are about 3 MB."""
_TOLD = (
    "content-type", "content-length", "content-range", "content-disposition", "accept-ranges", "etag", "last-modified",
)  # fmt: skip
"""Headers of a reply that describe its body."""
Again = Callable[[str], Awaitable[HttpReply]]
"""Asks for another path at the same endpoint."""
_KEPT = frozenset({404, 409, 413, 416, 422})
"""Statuses that clients of these operations look at."""


def call_of(request: Request, passing: Passing, target: Target) -> Call:
    body = b""
    if passing.upload is None and passing.method not in ("GET", "DELETE"):
        fields = {**request.body, "model": target.model} if request.model else request.body
        body = encode(fields) if fields else b""
    headers = dict(passing.headers)
    if passing.upload is None and not body:
        headers.pop("content-type", None)
    call = Call(passing.method, passing.path, headers, body, False)
    if passing.upload is not None:
        call = msgspec.structs.replace(call, sending=passing.upload.sending(target.model))
    return call


def refused(fault: GatewayFault, status: int, passing: Passing) -> GatewayFault:
    """An error reply as the client gets it: with the status, where that says something to it, and its own ids."""
    fault.upstream_status = status
    for raw, sealed in passing.words:
        fault.message = fault.message.replace(raw, sealed)
    if isinstance(fault, UpstreamRejected) and status in _KEPT:
        fault.wire = msgspec.structs.replace(fault.wire, status=status)
    return fault


def headed(http: HttpReply) -> dict[str, str]:
    """Raises UpstreamFailed for a reply whose end cannot be told from a break: it could not be passed on honestly."""
    if "content-length" not in http.headers and "transfer-encoding" not in http.headers:
        raise UpstreamFailed("The upstream's reply says neither its length nor where it ends, so it cannot be relayed.")
    return {name: http.headers[name] for name in _TOLD if name in http.headers}


class RelayReply:
    """A `core.ports.Reply`, and its own iterator. `Started` holds the head, under `relay`; then `Piece`s; `Finished` comes
    only when the body is as long as it said it is."""

    def __init__(
        self,
        http: HttpReply,
        *,
        endpoint: str,
        upstream_id: str,
        timeouts: Timeouts,
        ends: float,
        on_end: Callable[[bool | None], None],
        pages: Callable[[bytes], str | None] | None = None,
        again: Again | None = None,
    ) -> None:
        """`pages`: see `Passing`; `again` asks the same endpoint for the next."""
        self.endpoint = endpoint
        self.status = http.status
        self.upstream_id = upstream_id
        self._http = http
        headers = headed(http)
        self._usage = UsageReader(headers.get("content-type", ""))
        self._head: Frame | None = Frame((Started("", "", 0, {"relay": {"status": http.status, "headers": headers}}),))
        http.read_timeout, http.deadline = timeouts.idle, ends
        self._on_end: Callable[[bool | None], None] | None = on_end
        self._ok: bool | None = None
        self._over = False
        self._size = 0
        self._times = timeouts.idle, ends
        self._pages = pages
        self._again = again
        self._next = ""
        """The path of the page that is to be asked for."""

    def frames(self) -> AsyncIterator[Sequence[Frame]]:
        return self

    def __aiter__(self) -> AsyncIterator[Sequence[Frame]]:
        return self

    async def __anext__(self) -> Sequence[Frame]:
        if self._over:
            raise StopAsyncIteration
        if self._head is not None:
            head, self._head = self._head, None
            return (head,)
        if self._pages is not None:
            return (Frame((await self._listed(self._pages),)),)
        data = await self._read()
        if data:
            self._usage.feed(data)
            return (Frame((Piece(data),)),)
        self._over = self._ok = True
        usage = self._usage.usage()
        events: tuple[Event, ...] = (Finished(),) if usage is None else (usage, Finished())
        return (Frame(events),)

    async def _listed(self, pages: Callable[[bytes], str | None]) -> Event:
        """One page of a list, whole; nothing of it goes on from here, for others see to what is in it."""
        if self._next:
            self._http = await self._asked(self._next)
        data = bytearray()
        while piece := await self._read():
            data += piece
            if len(data) > MOST_PAGE:
                raise self._failed(UpstreamFailed(f"The upstream's list is larger than {MOST_PAGE >> 20} MiB."))
        try:
            self._next = pages(bytes(data)) or ""
        except GatewayFault as fault:
            raise self._failed(fault) from None
        if self._next:
            return Piece(b"")
        self._over = self._ok = True
        return Finished()

    async def _asked(self, path: str) -> HttpReply:
        assert self._again is not None, "whoever gives pages says how to get more of them"
        try:
            http = await self._again(path)
        except HttpError as error:
            raise self._failed(_broke(error)) from None
        http.read_timeout, http.deadline = self._times
        if http.status != self.status:
            await http.aclose()
            raise self._failed(
                UpstreamFailed(f"The upstream gave one page of a list, and HTTP {http.status} for the next.")
            )
        return http

    async def _read(self) -> bytes:
        try:
            data = await self._http.read()
            self._size += len(data)
            if self._size > MOST_BYTES:
                raise UpstreamFailed(f"The upstream's reply is larger than {MOST_BYTES >> 30} GiB.")
        except HttpError as error:
            raise self._failed(_broke(error)) from None
        except GatewayFault as fault:
            raise self._failed(fault) from None
        return data

    def _failed(self, fault: GatewayFault) -> GatewayFault:
        self._over = True
        self._ok = says_of_health(fault)
        return fault

    async def close(self) -> None:
        on_end, self._on_end = self._on_end, None
        if on_end is None:
            return
        self._over = True
        try:
            await self._http.aclose()
        finally:
            on_end(self._ok)


def _broke(error: HttpError) -> GatewayFault:
    if isinstance(error, ReadTimeout):
        return UpstreamTimeout("The upstream's reply stalled.", clock="idle")
    return fault_of(error, streaming=True)


def not_offered(operation: str, name: str) -> BadRequest:
    return BadRequest(f"The provider {name!r} does not offer {operation}.")
