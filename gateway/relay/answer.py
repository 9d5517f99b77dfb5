"""How relayed answers are told: bytes as they come, or a provider's bookkeeping with the ids that clients know."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.core.errors import GatewayFault, UpstreamFailed
from gateway.core.events import Blocked, Event, Frame, Piece, Started
from gateway.core.exchange import Exchange
from gateway.core.ports import Dialect
from gateway.dialects.json_codec import UNREADABLE, decode, encode
from gateway.relay.ids import Ids
from gateway.relay.pages import Pages

MOST_JSON = 16 * 1024 * 1024
"""Bytes of an answer that must be read whole: 10,000 files are about 3 MB."""
_JSON = "application/json"


class RelayForm:
    """OpenAI's dialect, for answers that are passed on."""

    def __init__(self, dialect: Dialect, ids: Ids) -> None:
        self.name = dialect.name
        self.beat = b""
        self.error = dialect.error
        self._ids = ids

    def outlet(self, exchange: Exchange) -> RelayOutlet:
        return RelayOutlet(exchange, self._ids, self.error)


class RelayOutlet:
    """One answer. A break after its first byte shows: events end in an error; anything else ends too early, since nothing
    that could be said in it would be understood."""

    def __init__(self, exchange: Exchange, ids: Ids, error: Callable[[GatewayFault, str], bytes]) -> None:
        self._exchange = exchange
        self._ids = ids
        self._error = error
        passing = exchange.asked().passing
        self._reads = passing is not None and passing.answers
        pages = passing.pages if passing is not None else None
        self._pages = pages if isinstance(pages, Pages) else None
        self._held = bytearray()
        self._head: dict[str, Any] = {}
        self.content_type = "application/octet-stream"
        self.streaming = False

    def push(self, frame: Frame) -> bytes:
        return b"".join([self._event(event) for event in frame.events])

    def _event(self, event: Event) -> bytes:
        if type(event) is Started:
            self._head = (event.extra or {})["relay"]
            if self._pages is not None:
                self._pages.begin()
            self.content_type = self._head["headers"].get("content-type", self.content_type)
            self.streaming = self.content_type.startswith("text/event-stream")
        elif type(event) is Piece:
            if not self._reads:
                self._tell_head()
                self._exchange.bytes_out += len(event.data)
                return event.data
            self._held += event.data
            if len(self._held) > MOST_JSON:
                raise UpstreamFailed(f"The upstream's answer is larger than {MOST_JSON >> 20} MiB.")
        return b""

    def _tell_head(self, *, length: bool = True) -> None:
        """Not before something is sent: another target may answer yet."""
        if self._head:
            self._exchange.answer_status = self._head["status"]
            hidden = {"content-type"} if length else {"content-type", "content-length"}
            headers = {name: value for name, value in self._head["headers"].items() if name not in hidden}
            self._exchange.response_headers.update(headers)
            self._head = {}

    def finish(self) -> bytes:
        if not self._reads:
            self._tell_head(length=False)  # an empty body, if nothing was sent yet: whoever sends it says its length
            return b""
        self.content_type = _JSON
        calling = self._exchange.calling
        provider = calling.provider if calling is not None else ""
        if self._pages is not None:
            told = self._ids.listed(self._pages, provider, self._exchange)
        else:
            told = self._ids.told(self._object(), provider, self._exchange)
        data: bytes = encode(told)
        self._tell_head(length=False)
        self._exchange.bytes_out += len(data)
        return data

    def _object(self) -> dict[str, Any]:
        try:
            value = decode(bytes(self._held))
        except UNREADABLE:
            value = None
        if type(value) is not dict:
            raise UpstreamFailed("The upstream's answer could not be read: it is not a JSON object.")
        return value

    def fail(self, fault: GatewayFault) -> bytes:
        if not self.streaming:
            raise fault
        return b"event: error\ndata: " + self._error(fault, self._exchange.id) + b"\n\n"

    def block(self, blocked: Blocked) -> bytes:
        raise AssertionError("nothing here looks at answers")
