"""Gemini's answers, read: whole, or as an event stream.

A stream has no terminal event: it is whole when each candidate told why it finished, or the prompt was refused, and the
body then ended as HTTP says. So `Finished` comes with the end of the body.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.core.errors import UpstreamFailed
from gateway.core.events import Event, Finished, Frame
from gateway.dialects.gemini_chunk import ChunkReader
from gateway.dialects.gemini_extra import NAME
from gateway.dialects.json_codec import UNREADABLE, Unreadable, decode, decode_lenient
from gateway.dialects.sse_inlet import SseInlet
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


class StreamInlet(SseInlet):
    """Whole when every candidate asked for has told why it finished, or the prompt was refused."""

    def __init__(self, choices: int) -> None:
        """`choices` is how many the client asked for."""
        super().__init__(NAME, lambda: WholeInlet(NAME, read_response))
        self._choices = choices
        self._reader = ChunkReader()

    def _is_whole(self) -> bool:
        reader = self._reader
        return reader.blocked or (reader.seen <= reader.finished and len(reader.finished) >= self._choices)

    def _frame(self, name: bytes, payload: bytes) -> Frame | None:
        raw: bytes | None = payload
        try:
            body = decode(payload)
        except UNREADABLE:
            raw = None
            try:
                body = decode_lenient(payload)
            except Unreadable as why:
                return self._fail(UpstreamFailed(f"The upstream's stream could not be read: {why}."))
        try:
            if body.get("error"):
                return self._fail(in_stream(body))
            events = self._reader.read(body)
        except (AttributeError, KeyError, TypeError, ValueError):
            return self._fail(UpstreamFailed(_SHAPE))
        return Frame(tuple(events), raw, NAME) if events else None
