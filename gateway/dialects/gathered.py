"""Wire events that give no canonical event yet, kept until one does, so that a frame's own bytes are whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.core.errors import UpstreamFailed
from gateway.core.events import Event, Frame
from gateway.dialects.json_codec import UNREADABLE, Unreadable, decode, decode_lenient
from gateway.dialects.sse_parser import MAX_EVENT


class Gathered:
    """For dialects that say one thing in several events. What was not clean JSON is not relayed as it came."""

    __slots__ = ("_clean", "_dialect", "_size", "_waiting", "_what")

    def __init__(self, dialect: str, what: str) -> None:
        """`what`: what such a series of events is called in this dialect, for messages."""
        self._dialect = dialect
        self._what = what
        self._waiting: list[bytes] = []
        self._size = 0
        self._clean = True

    def decode(self, payload: bytes) -> Any:
        """The event's JSON. Raises UpstreamFailed for what no lenience can read."""
        try:
            return decode(payload)
        except UNREADABLE:
            self._clean = False
        try:
            return decode_lenient(payload)
        except Unreadable as why:
            raise UpstreamFailed(f"The upstream's stream could not be read: {why}.") from None

    def frame(self, events: Sequence[Event], payload: bytes) -> Frame | None:
        """The frame of all that was kept and this; None while there is no event to tell. Raises UpstreamFailed when more is
        kept than may be."""
        self._waiting.append(payload.replace(b"\n", b" ") if b"\n" in payload else payload)
        if not events:
            self._size += len(payload)
            if self._size > MAX_EVENT:
                raise UpstreamFailed(f"The upstream sent {self._what} larger than the gateway reads.")
            return None
        raw = b"\n".join(self._waiting) if self._clean else None
        self._waiting.clear()
        self._size = 0
        self._clean = True
        return Frame(tuple(events), raw, self._dialect)
