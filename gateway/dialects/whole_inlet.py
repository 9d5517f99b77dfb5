"""Replies that are not streamed: one JSON body, read when it is all there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gateway.core.errors import GatewayFault, UpstreamFailed
from gateway.core.events import Event, Failed, Frame, Relayed
from gateway.dialects.json_codec import UNREADABLE, Unreadable, decode, decode_lenient
from gateway.dialects.upstream_faults import in_stream

MAX_BODY = 64 * 1024 * 1024
"""Bytes of one reply that is not streamed; embeddings of a full batch are the large ones."""


class WholeInlet:
    """Collects one JSON reply and reads it at the end. `read` gives a body's events, `Finished` last, and may raise what
    a body of another shape makes it raise. Errors come as `Failed`. With `relayed` the body itself is among the events."""

    def __init__(
        self, dialect: str, read: Callable[[dict[str, Any]], Sequence[Event]], *, relayed: bool = False
    ) -> None:
        self._dialect = dialect
        self._relayed = relayed
        self._read = read
        self._pieces: list[bytes] = []
        self._size = 0
        self._done = False

    def feed(self, data: bytes) -> Sequence[Frame]:
        if self._done:
            return ()
        self._size += len(data)
        if self._size > MAX_BODY:
            self._pieces.clear()
            return (self._fail(UpstreamFailed("The upstream's reply is larger than the gateway reads.")),)
        self._pieces.append(data)
        return ()

    def close(self) -> Sequence[Frame]:
        if self._done:
            return ()
        self._done = True
        raw = b"".join(self._pieces)
        strict = True
        try:
            body = decode(raw)
        except UNREADABLE:
            strict = False
            try:
                body = decode_lenient(raw)
            except Unreadable as why:
                return (self._fail(UpstreamFailed(f"The upstream's reply could not be read: {why}.")),)
        if type(body) is not dict:
            return (self._fail(UpstreamFailed("The upstream's reply could not be read: it is no JSON object.")),)
        if body.get("error"):
            return (self._fail(in_stream(body)),)
        try:
            events = tuple(self._read(body))
        except (AttributeError, KeyError, TypeError, ValueError):
            return (self._fail(UpstreamFailed("The upstream's reply could not be read: it has an unknown shape.")),)
        if self._relayed and strict:
            events = (*events[:-1], Relayed(raw), events[-1])
        return (Frame(events, raw if strict else None, self._dialect),)

    def _fail(self, fault: GatewayFault) -> Frame:
        self._done = True
        return Frame((Failed(fault),), None, self._dialect)
