"""Anthropic messages, written for the client: as an event stream, or as one body. Clean frames are relayed as they came."""

from __future__ import annotations

from typing import Any

from gateway.core.errors import GatewayFault, UpstreamFailed
from gateway.core.events import Blocked, Finished, Frame, Reasoning, Started, Text, ToolCall
from gateway.core.exchange import Exchange
from gateway.dialects.anthropic_errors import error_body
from gateway.dialects.anthropic_extra import NAME
from gateway.dialects.anthropic_writer import Message, MessageWriter, Wire
from gateway.dialects.json_codec import decode, encode
from gateway.dialects.model_name import ModelName
from gateway.dialects.retract import mark

CONTENT_TYPE = "text/event-stream; charset=utf-8"
_DELTA = b"event: content_block_delta\ndata: "
_PIECES = frozenset({Text, Reasoning, ToolCall})
_MIXED = "The upstream's answer mixed the pieces of several tool calls in a way that cannot be told in this API."


class _Flow:
    """What both outlets share: which stream events a frame becomes."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.alias = exchange.asked().model
        self.writer = MessageWriter(self.alias, f"msg_{exchange.id}")

    def relayed(self, frame: Frame) -> list[tuple[Wire, bytes]] | None:
        """The frame's own stream events, each with its bytes. None: they cannot be sent as they are."""
        raw, events = frame.raw, frame.events
        if raw is None or frame.dialect != NAME or type(events[-1]) is Finished:
            return None
        started = next((event for event in events if type(event) is Started), None)
        if started is not None and self.writer.started is not None:
            return None
        payloads = raw.split(b"\n")
        wires: list[Wire] = [decode(payload) for payload in payloads]
        if not self.writer.follows(wires):
            return None
        self.writer.started = self.writer.started or started
        self.writer.note(events)
        out = list(zip(wires, payloads, strict=True))
        for at, wire in enumerate(wires):
            if wire["type"] == "message_start" and wire["message"].get("model") != self.alias:
                wire["message"]["model"] = self.alias
                out[at] = (wire, encode(wire))
        return out


class StreamOutlet:
    """Named events, no `[DONE]`: Anthropic's clients drop an event that has no name, and choke on the other."""

    content_type = CONTENT_TYPE
    streaming = True

    def __init__(self, exchange: Exchange) -> None:
        self._flow = _Flow(exchange)
        self._writer = self._flow.writer
        self._prefix = b""
        self._prefix_index = -1

    def push(self, frame: Frame) -> bytes:
        events = frame.events
        if not events:
            return b""
        raw = frame.raw
        if raw is not None and frame.dialect == NAME:
            if self._plain_delta(raw, events):
                return _DELTA + raw + b"\n\n"
            relayed = self._flow.relayed(frame)
            if relayed is not None:
                return b"".join([_sse(wire["type"], payload) for wire, payload in relayed])
        return _encoded(self._writer.write(events))

    def finish(self) -> bytes:
        wires = self._writer.finish()
        if self._writer.broken:
            raise UpstreamFailed(_MIXED)
        return _encoded(wires)

    def fail(self, fault: GatewayFault) -> bytes:
        return _sse("error", error_body(fault, self._flow.exchange.id))

    def block(self, blocked: Blocked) -> bytes:
        return _encoded(self._writer.block(mark(blocked)))

    def _plain_delta(self, raw: bytes, events: tuple[Any, ...]) -> bool:
        """One delta of the block that is open, spelled the way Anthropic spells it: needs no decoding to be relayed."""
        if len(events) != 1 or type(events[0]) not in _PIECES or events[0].extra or not self._writer.open:
            return False
        if self._prefix_index != self._writer.index:
            self._prefix_index = self._writer.index
            self._prefix = b'{"type":"content_block_delta","index":%d,' % self._prefix_index
        return raw.startswith(self._prefix) and b"\n" not in raw


class FoldingOutlet:
    """Puts the stream events together as Anthropic's own SDK does, so that blocks keep their order and their fields. If the
    upstream's own body came through unchanged, that body is the answer, with only the model's name changed."""

    content_type = "application/json"
    streaming = False

    def __init__(self, exchange: Exchange) -> None:
        self._flow = _Flow(exchange)
        self._message = Message()
        self._whole: Frame | None = None

    def push(self, frame: Frame) -> bytes:
        if not frame.events:
            return b""
        if frame.raw is not None and frame.dialect == NAME and type(frame.events[-1]) is Finished:
            self._whole = frame
            return b""
        if self._whole is not None:
            self._message.add(self._flow.writer.write(self._whole.events))
            self._whole = None
        relayed = self._flow.relayed(frame)
        if relayed is not None:
            self._message.add(wire for wire, _ in relayed)
        else:
            self._message.add(self._flow.writer.write(frame.events))
        return b""

    def finish(self) -> bytes:
        whole = self._whole
        if whole is not None and whole.raw is not None:
            model = next((event.model for event in whole.events if type(event) is Started), "")
            return ModelName(self._flow.alias).put(whole.raw, model)
        self._message.add(self._flow.writer.finish())
        if self._flow.writer.broken:
            raise UpstreamFailed(_MIXED)
        return encode(self._message.close())

    def fail(self, fault: GatewayFault) -> bytes:
        return error_body(fault, self._flow.exchange.id)

    def block(self, blocked: Blocked) -> bytes:
        self._message.add(self._flow.writer.block(mark(blocked)))
        return encode(self._message.close())


def _sse(name: str, payload: bytes) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + payload + b"\n\n"


def _encoded(wires: list[Wire]) -> bytes:
    return b"".join([_sse(wire["type"], encode(wire)) for wire in wires])
