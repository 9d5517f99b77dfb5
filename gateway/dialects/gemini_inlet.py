"""Gemini's answers, read: whole, or as an event stream.

A stream has no terminal event: it is whole when each candidate told why it finished, or the prompt was refused, and the
body then ended as HTTP says. So `Finished` comes with the end of the body.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.core.errors import GatewayFault, StreamCut, UpstreamFailed
from gateway.core.events import Event, Failed, Finished, Frame
from gateway.core.ports import Inlet
from gateway.dialects.gemini_chunk import ChunkReader
from gateway.dialects.gemini_extra import NAME
from gateway.dialects.json_codec import UNREADABLE, Unreadable, decode, decode_lenient
from gateway.dialects.sse_parser import SseParser
from gateway.dialects.upstream_faults import in_stream
from gateway.dialects.whole_inlet import WholeInlet

_SHAPE = "The upstream's stream could not be read: an event has an unknown shape."


def read_response(body: dict[str, Any]) -> Sequence[Event]:
    """A whole answer. Raises ValueError, KeyError, TypeError or AttributeError when it has another shape."""
    reader = ChunkReader()
    events = reader.read(body)
    if not reader.seen and not reader.blocked:
        raise ValueError("no candidates and no reason why")
    return (*events, Finished())


class StreamInlet:
    """Reads one streamed answer. Errors of any kind come as `Failed`; after it, and after `Finished`, nothing comes."""

    def __init__(self, choices: int) -> None:
        """`choices` is how many the client asked for."""
        self._choices = choices
        self._whole: Inlet | None = None
        self._peeked = False
        self._sse = SseParser()
        self._reader = ChunkReader()
        self._done = False

    def feed(self, data: bytes) -> Sequence[Frame]:
        if not self._peeked:
            start = data.lstrip()[:1]
            self._peeked = bool(start)
            if start == b"{":  # a server that does not stream
                self._whole = WholeInlet(NAME, read_response)
        if self._whole is not None:
            return self._whole.feed(data)
        frames: list[Frame] = []
        for _, payload in self._sse.feed(data):
            if self._done:
                return frames
            self._take(payload, frames)
        if self._sse.oversize and not self._done:
            frames.append(self._fail(UpstreamFailed("The upstream sent an event larger than the gateway reads.")))
        return frames

    def close(self) -> Sequence[Frame]:
        if self._whole is not None:
            return self._whole.close()
        frames: list[Frame] = []
        for _, payload in self._sse.close():
            if not self._done and _readable(payload):
                self._take(payload, frames)
        if not self._done:
            self._done = True
            frames.append(Frame((Finished(),), None, NAME) if self._is_whole() else self._cut())
        return frames

    def _is_whole(self) -> bool:
        reader = self._reader
        return reader.blocked or (reader.seen <= reader.finished and len(reader.finished) >= self._choices)

    def _take(self, payload: bytes, frames: list[Frame]) -> None:
        raw: bytes | None = payload
        try:
            body = decode(payload)
        except UNREADABLE:
            raw = None
            try:
                body = decode_lenient(payload)
            except Unreadable as why:
                frames.append(self._fail(UpstreamFailed(f"The upstream's stream could not be read: {why}.")))
                return
        try:
            if body.get("error"):
                frames.append(self._fail(in_stream(body)))
                return
            events = self._reader.read(body)
        except (AttributeError, KeyError, TypeError, ValueError):
            frames.append(self._fail(UpstreamFailed(_SHAPE)))
            return
        if events:
            frames.append(Frame(tuple(events), raw, NAME))

    def _cut(self) -> Frame:
        return self._fail(StreamCut("The upstream's stream ended before its answer did."))

    def _fail(self, fault: GatewayFault) -> Frame:
        self._done = True
        return Frame((Failed(fault),), None, NAME)


def _readable(payload: bytes) -> bool:
    """An event that the end of the body cut short of its blank line is whole if it can be read."""
    try:
        decode(payload)
    except UNREADABLE:
        return False
    return True
