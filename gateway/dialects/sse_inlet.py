"""What all readers of event streams do alike: tell a whole body from a stream, take events until one ends it, and say at the
end of the body whether the answer was whole. A dialect adds what one event says."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from gateway.core.errors import GatewayFault, StreamCut, UpstreamFailed
from gateway.core.events import Failed, Finished, Frame
from gateway.core.ports import Inlet
from gateway.dialects.json_codec import UNREADABLE, decode
from gateway.dialects.sse_parser import SseParser


class SseInlet(ABC):
    """An `Inlet` of one streamed answer. Errors of any kind come as `Failed`; after it, and after `Finished`, nothing
    comes."""

    def __init__(self, dialect: str, whole: Callable[[], Inlet]) -> None:
        """`whole` reads an answer that is not streamed after all: some servers ignore `stream`, and the first byte of one
        JSON body tells it from an event stream."""
        self._dialect = dialect
        self._make_whole = whole
        self._whole: Inlet | None = None
        self._peeked = False
        self._sse = SseParser()
        self._done = False

    @abstractmethod
    def _frame(self, name: bytes, payload: bytes) -> Frame | None:
        """What one event says, if anything. Sets `_done` with the last."""

    def _is_whole(self) -> bool:
        """Whether an answer whose body has ended, without a mark of its end, lacks nothing."""
        return False

    def feed(self, data: bytes) -> Sequence[Frame]:
        if not self._peeked:
            start = data.lstrip()[:1]
            self._peeked = bool(start)
            if start == b"{":
                self._whole = self._make_whole()
        if self._whole is not None:
            return self._whole.feed(data)
        frames: list[Frame] = []
        for name, payload in self._sse.feed(data):
            if self._done:
                return frames
            frame = self._frame(name, payload)
            if frame is not None:
                frames.append(frame)
        if self._sse.oversize and not self._done:
            frames.append(self._fail(UpstreamFailed("The upstream sent an event larger than the gateway reads.")))
        return frames

    def close(self) -> Sequence[Frame]:
        """At end of body. An event that it cut short of its blank line is whole if it can be read, else the cut itself."""
        if self._whole is not None:
            return self._whole.close()
        frames: list[Frame] = []
        for name, payload in self._sse.close():
            if not self._done:
                whole = payload == b"[DONE]" or _readable(payload)
                frame = self._frame(name, payload) if whole else self._cut()
                if frame is not None:
                    frames.append(frame)
        if not self._done:
            frames.append(self._end() if self._is_whole() else self._cut())
        return frames

    def _end(self) -> Frame:
        self._done = True
        return Frame((Finished(),), None, self._dialect)

    def _cut(self) -> Frame:
        return self._fail(StreamCut("The upstream's stream ended before its answer did."))

    def _fail(self, fault: GatewayFault) -> Frame:
        self._done = True
        return Frame((Failed(fault),), None, self._dialect)


def _readable(payload: bytes) -> bool:
    try:
        decode(payload)
    except UNREADABLE:
        return False
    return True
