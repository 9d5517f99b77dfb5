"""Gemini's answers, written for the client: as an event stream, or as one body. Clean pieces are relayed as they came."""

from __future__ import annotations

from gateway.core.errors import GatewayFault, UpstreamFailed
from gateway.core.events import Blocked, Finished, Frame, Started
from gateway.core.exchange import Exchange
from gateway.dialects.gemini_errors import error_body
from gateway.dialects.gemini_extra import NAME
from gateway.dialects.gemini_writer import ResponseWriter, Wire
from gateway.dialects.json_codec import encode
from gateway.dialects.model_name import ModelName
from gateway.dialects.retract import mark

_FIELD = "modelVersion"
_MIXED = "The upstream's answer mixed the pieces of several tool calls in a way that cannot be told in this API."
_FIELD_JSON = b'"modelVersion"'


class _Flow:
    """What both outlets share."""

    def __init__(self, exchange: Exchange) -> None:
        self.id = exchange.id
        self.writer = ResponseWriter(exchange.asked().model, exchange.id)
        self._name = ModelName(exchange.asked().model, _FIELD)
        self._model = ""

    def check(self) -> None:
        """Raises UpstreamFailed for an answer that cannot be told."""
        if self.writer.broken:
            raise UpstreamFailed(_MIXED)

    def named(self, frame: Frame, raw: bytes) -> bytes:
        """The frame's own bytes with our name for the model, where they name one."""
        for event in frame.events:
            if type(event) is Started:
                self._model = event.model
        return self._name.put(raw, self._model) if _FIELD_JSON in raw else raw


class StreamOutlet:
    """Data events only, no name and no `[DONE]`: the last is the one with the finish reasons."""

    content_type = "text/event-stream; charset=utf-8"
    streaming = True

    def __init__(self, exchange: Exchange) -> None:
        self._flow = _Flow(exchange)

    def push(self, frame: Frame) -> bytes:
        events, raw, writer = frame.events, frame.raw, self._flow.writer
        if not events:
            return b""
        if raw is not None and frame.dialect == NAME and type(events[-1]) is not Finished and writer.follows(events):
            raw = self._flow.named(frame, raw)
            return b"data: " + (raw.replace(b"\n", b" ") if b"\n" in raw else raw) + b"\n\n"
        writer.write(events)
        return _event(writer.take())

    def finish(self) -> bytes:
        wire = self._flow.writer.finish()
        self._flow.check()
        return _event(wire)

    def fail(self, fault: GatewayFault) -> bytes:
        """The SDKs raise on an event that begins with `error`."""
        return b"data: " + error_body(fault, self._flow.id) + b"\n\n"

    def block(self, blocked: Blocked) -> bytes:
        return _event(self._flow.writer.block(mark(blocked)))


class FoldingOutlet:
    """One body. If the upstream's own came through unchanged, that is the answer, with only the model's name changed."""

    content_type = "application/json"
    streaming = False

    def __init__(self, exchange: Exchange) -> None:
        self._flow = _Flow(exchange)
        self._whole: Frame | None = None

    def push(self, frame: Frame) -> bytes:
        if frame.raw is not None and frame.dialect == NAME and frame.events and type(frame.events[-1]) is Finished:
            self._whole = frame
        else:
            if self._whole is not None:
                self._flow.writer.write(self._whole.events)
                self._whole = None
            self._flow.writer.write(frame.events)
        return b""

    def finish(self) -> bytes:
        whole = self._whole
        if whole is not None and whole.raw is not None:
            return self._flow.named(whole, whole.raw)
        wire = self._flow.writer.finish()
        self._flow.check()
        return encode(wire or {})

    def fail(self, fault: GatewayFault) -> bytes:
        return error_body(fault, self._flow.id)

    def block(self, blocked: Blocked) -> bytes:
        return encode(self._flow.writer.block(mark(blocked)))


def _event(wire: Wire | None) -> bytes:
    return b"data: " + encode(wire) + b"\n\n" if wire is not None else b""
