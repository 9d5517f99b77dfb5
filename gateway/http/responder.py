"""The client's end of one exchange: headers once, then bytes; and an eye on whether the client is still there."""

from __future__ import annotations

import asyncio

from gateway.core.answer import Refusal
from gateway.core.errors import BadRequest, GatewayFault
from gateway.core.exchange import Exchange
from gateway.core.ports import Telling
from gateway.http import headers
from gateway.http.asgi import Hangup, Headers, Receive, Send
from gateway.http.body import BodyReader

_STREAM_HEADERS: Headers = [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
_JSON = "application/json"
_EVENTS = b"text/event-stream; charset=utf-8"


class Responder:
    """Implements the spine's `Client` on one ASGI request."""

    def __init__(
        self,
        exchange: Exchange,
        dialect: Telling,
        reader: BodyReader,
        receive: Receive,
        send: Send,
        hangup: Hangup | None,
    ) -> None:
        """`hangup`: tells when the client is gone; where the server offers none, ASGI's message is waited for."""
        self._exchange = exchange
        self._dialect = dialect
        self._reader = reader
        self._receive = receive
        self._send = send
        self._hangup = hangup
        self._task: asyncio.Task[object] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self.committed = False
        self.ended = False
        self.gone = False
        self.status = 0

    def watch(self) -> None:
        self._task = asyncio.current_task()
        if self._hangup is not None:
            self._hangup.watch(self._left)
        elif self._reader.done:  # else whoever reads the body hears of it
            self._watcher = asyncio.create_task(self._until_gone())

    def unwatch(self) -> None:
        self._task = None
        if self._hangup is not None:
            self._hangup.unwatch()
        if self._watcher is not None:
            self._watcher.cancel()

    def _left(self) -> None:
        if self._task is not None and not self.ended:
            self.gone = True
            self._task.cancel()

    async def _until_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._left()

    async def write(self, data: bytes, content_type: str, *, last: bool, streaming: bool) -> None:
        if not self.committed:
            await self._start(self._exchange.answer_status, data, content_type, last=last, streaming=streaming)
        self.ended = last
        await self._send({"type": "http.response.body", "body": data, "more_body": not last})

    async def beat(self, data: bytes) -> None:
        if not self.committed:
            lines = [(b"content-type", _EVENTS), *headers.told(self._exchange, answered=False), *_STREAM_HEADERS]
            await self._head(200, lines)
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def _start(self, status: int, data: bytes, content_type: str, *, last: bool, streaming: bool) -> None:
        lines = [(b"content-type", content_type.encode("latin-1")), *headers.told(self._exchange)]
        if streaming:
            lines.extend(_STREAM_HEADERS)
        elif last:
            lines.append((b"content-length", str(len(data)).encode()))
        await self._head(status, lines)

    async def _head(self, status: int, lines: Headers) -> None:
        if not self._reader.done:  # not at a message boundary, so the connection cannot serve another request
            lines.append((b"connection", b"close"))
        self.committed = True
        self.status = status
        await self._send({"type": "http.response.start", "status": status, "headers": lines})

    async def fault(self, fault: GatewayFault) -> None:
        await self._reader.discard()
        body = self._dialect.error(fault, self._exchange.id)
        lines: Headers = [
            (b"content-type", _JSON.encode()),
            (b"content-length", str(len(body)).encode()),
            *headers.told(self._exchange),
            *headers.of_fault(fault),
        ]
        await self._head(fault.wire.status, lines)
        self.ended = True
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    async def refuse(self, refusal: Refusal) -> None:
        """A refusal is an answer: 400 `content_filter` with the check's public category, never the text."""
        blocked = BadRequest(refusal.message, code="content_filter", param=None)
        await self.fault(blocked)
