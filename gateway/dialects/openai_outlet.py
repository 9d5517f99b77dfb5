"""OpenAI event streams, written. A clean frame is relayed with only its model name changed; anything else is encoded."""

from __future__ import annotations

from typing import Any

from gateway.core.errors import GatewayFault
from gateway.core.events import (
    Blocked,
    ChoiceFinished,
    Event,
    Finished,
    Frame,
    Reasoning,
    Started,
    Text,
    ToolCall,
    Usage,
)
from gateway.core.exchange import Exchange
from gateway.dialects.json_codec import decode, encode
from gateway.dialects.model_name import ModelName
from gateway.dialects.openai_errors import error_body
from gateway.dialects.openai_extra import NAME, unwrap, usage_object
from gateway.dialects.openai_writer import Writer
from gateway.dialects.retract import mark

CONTENT_TYPE = "text/event-stream; charset=utf-8"
DONE = b"data: [DONE]\n\n"

_PIECES = frozenset({Text, Reasoning, ToolCall})
_EVERY_CHUNK = ("system_fingerprint", "service_tier")


class StreamOutlet:
    """Writes one answer. Usage is kept for the end: it goes out once, last, and only if the client asked for it."""

    content_type = CONTENT_TYPE
    streaming = True

    def __init__(self, exchange: Exchange, writer: Writer) -> None:
        request = exchange.asked()
        self._exchange = exchange
        self._alias = request.model
        self._name = ModelName(request.model)
        self._writer = writer
        self._asked = request.include_usage
        options = request.body.get("stream_options")
        self._continuous = bool(type(options) is dict and options.get("continuous_usage_stats"))
        n = request.body.get("n")
        self._n = n if type(n) is int else 1
        self._started: Started | None = None
        self._model = ""
        self._relays = True
        self._introduced = False
        """The first chunk, or what it said, is out."""
        self._head: dict[str, Any] = {}
        self._prefix = b""
        self._suffix = b',"usage":null}\n\n' if self._asked else b"}\n\n"
        self._usage: Usage | None = None
        self._usage_raw: bytes | None = None

    def push(self, frame: Frame) -> bytes:
        events = frame.events
        if not events:
            return b""
        raw = frame.raw
        if raw is not None and self._relays and frame.dialect == NAME:
            event = events[0]
            if len(events) == 1 and type(event) in _PIECES and event.choice in self._writer.open:  # type: ignore[attr-defined]
                if type(event) is ToolCall:
                    self._writer.note(event)
                return b"data: " + self._name.put(raw, self._model) + b"\n\n"
            relayed = self._relay(frame, raw)
            if relayed is not None:
                self._introduced = self._introduced or bool(relayed)
                return relayed
        if len(events) == 1:
            event = events[0]
            if (
                type(event) is Text
                and event.text
                and not event.extra
                and event.choice in self._writer.open
                and self._prefix
            ):
                return self._prefix + encode([self._writer.said(event.text, event.choice)]) + self._suffix
            return self._encode(event)
        return b"".join([self._encode(event) for event in events])

    def finish(self) -> bytes:
        """Ends choices whose end was never told, tells the usage if asked for, and marks the end."""
        out = [self._chunk([self._writer.end(at, "")]) for at in sorted(self._writer.open - self._writer.finished)]
        out.append(self._usage_chunk())
        out.append(DONE)
        return b"".join(out)

    def fail(self, fault: GatewayFault) -> bytes:
        """No `[DONE]`: the SDKs raise on any truthy `error`, and a cut answer never looks whole."""
        return b"data: " + error_body(fault) + b"\n\n"

    def block(self, blocked: Blocked) -> bytes:
        """Every choice that has not ended ends with `content_filter`, and with the mark if there is one."""
        waiting = (self._writer.open | set(range(self._n))) - self._writer.finished
        told = mark(blocked)
        out = [self._chunk([self._writer.end(at, "content_filter")], told) for at in sorted(waiting)]
        if told and not waiting:
            out.append(self._chunk([], told))
        out.append(self._usage_chunk())
        out.append(DONE)
        return b"".join(out)

    # --- relaying

    def _relay(self, frame: Frame, raw: bytes) -> bytes | None:
        """The frames that need a look: first ones, last ones, ones with several events. None: encode it instead."""
        events = frame.events
        if type(events[-1]) is Finished:
            return None  # a whole body, which is no chunk
        told = self._introduced
        for event in events:
            if type(event) is Started:
                told = self._start(event)
        if not told:
            return None  # another answer's chunk, or what the first chunk said at its top is still to be told
        chunk = decode(raw)
        choices = chunk.get("choices") or ()
        writer = self._writer
        news = {choice.get("index", 0) for choice in choices} - writer.open
        if writer.roles and not all(_has_role(choice) for choice in choices if choice.get("index", 0) in news):
            return None
        for event in events:
            writer.note(event)
            if type(event) is Usage:
                self._usage, self._usage_raw = event, None
        writer.open |= news
        if chunk.get("usage") and not (self._asked and self._continuous):
            return self._without_usage(chunk, raw)
        return b"data: " + self._name.put(raw, self._model) + b"\n\n" if choices or self._asked else b""

    def _without_usage(self, chunk: dict[str, Any], raw: bytes) -> bytes:
        """Usage waits for the end. Some servers put it into the chunk that ends the choice: the rest goes on at once."""
        if not chunk.get("choices"):
            self._usage_raw = raw
            return b""
        chunk["model"] = self._alias
        del chunk["usage"]
        if self._asked:
            chunk["usage"] = None
        return b"data: " + encode(chunk) + b"\n\n"

    def _usage_chunk(self) -> bytes:
        if not self._asked or self._usage is None:
            return b""
        if self._usage_raw is not None:
            return b"data: " + self._name.put(self._usage_raw, self._model) + b"\n\n"
        if not self._prefix:
            self._first()
        body = {**self._head, "choices": [], **unwrap(self._usage.extra), "usage": usage_object(self._usage)}
        return b"data: " + encode(body) + b"\n\n"

    # --- encoding

    def _start(self, event: Started) -> bool:
        """Takes the answer's identity. False if there was another one already: bytes under its id cannot be relayed."""
        if self._started is not None:
            self._relays = self._relays and event is self._started
            return self._relays
        self._started, self._model = event, event.model
        return True

    def _encode(self, event: Event) -> bytes:
        if type(event) is Started:
            self._start(event)
            return b""
        if type(event) is Usage:
            self._usage, self._usage_raw = event, None
            return b""
        entry = self._writer.entry(event)
        if entry is None:
            return b""
        carries = type(event) is Text or type(event) is ChoiceFinished
        return self._chunk([entry], unwrap(event.extra).get("chunk") if carries else None)  # type: ignore[attr-defined]

    def _chunk(self, choices: list[dict[str, Any]], more: dict[str, Any] | None = None) -> bytes:
        if not self._prefix:
            more = {**self._first(), **(more or {})}
        if more:
            usage = {"usage": None} if self._asked else {}
            return b"data: " + encode({**self._head, "choices": choices, **more, **usage}) + b"\n\n"
        return self._prefix + encode(choices) + self._suffix

    def _first(self) -> dict[str, Any]:
        """Makes what all chunks begin with; gives what only the first one says, unless a relayed one has said it."""
        started = self._started or Started("", self._alias, 0)
        top = unwrap(started.extra)
        self._head = {
            "id": started.id or f"chatcmpl-{self._exchange.id}",
            "object": self._writer.wire_object,
            "created": started.created or self._exchange.opened // 1_000_000_000,
            "model": self._alias,
            **{name: top[name] for name in _EVERY_CHUNK if name in top},
        }
        self._prefix = b"data: " + encode(self._head)[:-1] + b',"choices":'
        told, self._introduced = self._introduced, True
        return {} if told else top


def _has_role(choice: dict[str, Any]) -> bool:
    delta = choice.get("delta")
    return type(delta) is dict and bool(delta.get("role"))
