"""Responses, written for the client: as an event stream, or as one body."""

from __future__ import annotations

from gateway.core.errors import GatewayFault
from gateway.core.events import Blocked, Frame
from gateway.core.exchange import Exchange
from gateway.dialects.json_codec import encode
from gateway.dialects.openai_errors import error_body
from gateway.dialects.responses_items import Wire
from gateway.dialects.responses_writer import ResponseWriter


def _writer(exchange: Exchange) -> ResponseWriter:
    request = exchange.asked()
    return ResponseWriter(request.body, request.model, exchange.id, exchange.opened // 1_000_000_000)


class StreamOutlet:
    """Named and numbered events, no `[DONE]`. The last is always `response.completed`, `.incomplete` or `.failed`."""

    content_type = "text/event-stream; charset=utf-8"
    streaming = True

    def __init__(self, exchange: Exchange) -> None:
        self._writer = _writer(exchange)

    def push(self, frame: Frame) -> bytes:
        return _sse(self._writer.write(frame.events))

    def finish(self) -> bytes:
        return _sse(self._writer.finish())

    def fail(self, fault: GatewayFault) -> bytes:
        return _sse(self._writer.fail(fault))

    def block(self, blocked: Blocked) -> bytes:
        return _sse(self._writer.block())


class FoldingOutlet:
    """One body: what the last event of a stream would have held."""

    content_type = "application/json"
    streaming = False

    def __init__(self, exchange: Exchange) -> None:
        self._writer = _writer(exchange)

    def push(self, frame: Frame) -> bytes:
        self._writer.write(frame.events)
        return b""

    def finish(self) -> bytes:
        return encode(self._writer.finish()[-1]["response"])

    def fail(self, fault: GatewayFault) -> bytes:
        return error_body(fault)

    def block(self, blocked: Blocked) -> bytes:
        return encode(self._writer.block()[-1]["response"])


def _sse(wires: list[Wire]) -> bytes:
    return b"".join([b"event: " + wire["type"].encode() + b"\ndata: " + encode(wire) + b"\n\n" for wire in wires])
