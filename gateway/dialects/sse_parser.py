"""Server-sent events, read incrementally: any chunking, any line ending, bounded.

Source: WHATWG HTML, 9.2.6 "Interpreting an event stream". `id` and `retry` are not ours to act on and are left out.
One deliberate difference: an event that the end of the body cuts short of its blank line is still given by `close`,
because several servers end `data: [DONE]` without one; whether what it holds is whole is for the codec to judge.
"""

from __future__ import annotations

MAX_EVENT = 8 * 1024 * 1024
"""Bytes of one line, and of one event's data. Generous: some models send images inside an event."""

SseEvent = tuple[bytes, bytes]
"""Event name (empty when none was given) and data; data lines are joined by a line feed."""

_BOM = b"\xef\xbb\xbf"


class SseParser:
    """Feed it bytes, get whole events. `oversize` turns true, and nothing more comes, when a bound is passed."""

    __slots__ = ("_data", "_first", "_limit", "_name", "_pieces", "_size", "_skip_lf", "_tail", "oversize")

    def __init__(self, limit: int = MAX_EVENT) -> None:
        self._limit = limit
        self._pieces: list[bytes] = []
        self._tail = 0
        self._data: list[bytes] = []
        self._size = 0
        self._name = b""
        self._skip_lf = False
        self._first = True
        self.oversize = False

    def feed(self, data: bytes) -> list[SseEvent]:
        """The events that `data` completed. Work is linear in the bytes fed, however small the pieces."""
        size = len(data)
        if (  # one whole event, and nothing left of another: what mostly comes
            data.find(b"\n") == size - 2
            and data[-1] == 10
            and data[:6] == b"data: "
            and size <= self._limit
            and not (self._pieces or self._data or self._name or self._skip_lf or self.oversize)
            and b"\r" not in data
        ):
            self._first = False
            return [(b"", data[6:-2])]
        if self._skip_lf and data:
            self._skip_lf = False
            if data[0] == 10:
                data = data[1:]
        if b"\r" in data:
            # A carriage return ends a line at once; if it was the first half of a CRLF, the next feed skips the rest.
            self._skip_lf = data[-1] == 13
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if self.oversize:
            return []
        if b"\n" not in data:
            self._hold(data)
            return []
        if self._pieces:
            self._pieces.append(data)
            data = b"".join(self._pieces)
            self._pieces.clear()
            self._tail = 0
        return self._read(data)

    def close(self) -> list[SseEvent]:
        """What was left without a blank line when the body ended."""
        out: list[SseEvent] = []
        if self._pieces and not self.oversize:
            self._line(b"".join(self._pieces), out)
            self._pieces.clear()
        self._line(b"", out)
        return out

    def _read(self, data: bytes) -> list[SseEvent]:
        """`data` holds at least one line feed and no carriage return."""
        out: list[SseEvent] = []
        blocks = data.split(b"\n\n")
        rest = blocks.pop()
        for block in blocks:
            # The common event is one data line with nothing before it: no need to look at lines one by one.
            if block[:6] == b"data: " and not self._data and not self._name and b"\n" not in block:
                if len(block) > self._limit:
                    self.oversize = True
                    return out
                out.append((b"", block[6:]))
                self._first = False
                continue
            for line in block.split(b"\n"):
                self._line(line, out)
            self._line(b"", out)
        head, newline, tail = rest.rpartition(b"\n")
        if newline:
            for line in head.split(b"\n"):
                self._line(line, out)
        if tail:
            self._hold(tail)
        return out

    def _hold(self, data: bytes) -> None:
        self._tail += len(data)
        if self._tail > self._limit:
            self.oversize = True
            self._pieces.clear()
        elif data:
            self._pieces.append(data)

    def _line(self, line: bytes, out: list[SseEvent]) -> None:
        if self.oversize:
            return
        if self._first:
            self._first = False
            if line.startswith(_BOM):
                line = line[3:]
        if not line:
            if self._data:
                out.append((self._name, b"\n".join(self._data)))
            self._data = []
            self._size = 0
            self._name = b""
            return
        if len(line) > self._limit:
            self.oversize = True
            return
        field, _, value = line.partition(b":")
        if value[:1] == b" ":
            value = value[1:]
        if field == b"data":
            self._size += len(value)
            self.oversize = self._size > self._limit
            self._data.append(value)
        elif field == b"event":
            self._name = value
