"""Responses, written for the client: as an event stream, or as one body."""

from __future__ import annotations

from gateway.core.errors import GatewayFault
from gateway.core.events import Blocked, Finished, Frame, Started
from gateway.core.exchange import Exchange
from gateway.core.pinning import sealing
from gateway.dialects.json_codec import decode, encode
from gateway.dialects.model_name import ModelName
from gateway.dialects.openai_errors import error_body
from gateway.dialects.responses_extra import NAME
from gateway.dialects.responses_items import Wire
from gateway.dialects.responses_writer import ResponseWriter
from gateway.dialects.retract import mark
from gateway.dialects.sealed import seal_item, seal_items

_ENCRYPTED = b'"encrypted_content"'


def _writer(exchange: Exchange) -> ResponseWriter:
    request = exchange.asked()
    now = exchange.opened // 1_000_000_000
    return ResponseWriter(request.body, request.model, exchange.id, now, sealing(exchange))


class StreamOutlet:
    """Named and numbered events, no `[DONE]`. The last is always `response.completed`, `.incomplete` or `.failed`."""

    content_type = "text/event-stream; charset=utf-8"
    streaming = True

    def __init__(self, exchange: Exchange) -> None:
        self._writer = _writer(exchange)
        self._alias = exchange.asked().model
        self._seal = sealing(exchange)
        self._relays = True

    def push(self, frame: Frame) -> bytes:
        if self._relays:
            relayed = self._relayed(frame)
            if relayed is not None:
                return relayed
            self._relays = False
        return _sse(self._writer.write(frame.events))

    def _relayed(self, frame: Frame) -> bytes | None:
        """The frame's own stream events, with our name for the model. None: they cannot be sent as they are."""
        raw = frame.raw
        if raw is None or frame.dialect != NAME or _is_body(frame):
            return None
        payloads = raw.split(b"\n")
        wires: list[Wire] = [decode(payload) for payload in payloads]
        sealed = [
            seal_items(wire.get("response"), self._seal) or seal_item(wire.get("item"), self._seal) for wire in wires
        ]
        if not self._writer.follow(wires):
            return None
        out: list[bytes] = []
        for wire, payload, changed in zip(wires, payloads, sealed, strict=True):
            if "response" in wire and wire["response"].get("model") != self._alias:
                wire["response"]["model"] = self._alias
                changed = True
            payload = encode(wire) if changed else payload
            out.append(_event(wire["type"], payload))
        return b"".join(out)

    def finish(self) -> bytes:
        return b"" if self._writer.ended else _sse(self._writer.finish())

    def fail(self, fault: GatewayFault) -> bytes:
        return _sse(self._writer.fail(fault))

    def block(self, blocked: Blocked) -> bytes:
        return _sse(self._writer.block(mark(blocked)))


class FoldingOutlet:
    """One body: what the last event of a stream would have held. If the upstream's own body came through unchanged, that
    body is the answer, with only the model's name changed."""

    content_type = "application/json"
    streaming = False

    def __init__(self, exchange: Exchange) -> None:
        self._writer = _writer(exchange)
        self._alias = exchange.asked().model
        self._seal = sealing(exchange)
        self._whole: Frame | None = None

    def push(self, frame: Frame) -> bytes:
        if frame.raw is not None and frame.dialect == NAME and _is_body(frame):
            self._whole = frame
        else:
            self._writer.write(frame.events)
        return b""

    def finish(self) -> bytes:
        whole = self._whole
        if whole is not None and whole.raw is not None:
            raw = whole.raw
            if self._seal is not None and _ENCRYPTED in raw:
                body = decode(raw)
                raw = encode(body) if seal_items(body, self._seal) else raw
            return ModelName(self._alias).put(raw, whole.events[0].model)  # type: ignore[attr-defined]
        return encode(self._writer.finish()[-1]["response"])

    def fail(self, fault: GatewayFault) -> bytes:
        return error_body(fault)

    def block(self, blocked: Blocked) -> bytes:
        return encode(self._writer.block(mark(blocked))[-1]["response"])


def _sse(wires: list[Wire]) -> bytes:
    return b"".join([_event(wire["type"], encode(wire)) for wire in wires])


def _event(name: str, payload: bytes) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + payload + b"\n\n"


def _is_body(frame: Frame) -> bool:
    """The frame is a whole reply in one body; of a stream, the first event and the last are never in one frame."""
    return type(frame.events[0]) is Started and type(frame.events[-1]) is Finished
