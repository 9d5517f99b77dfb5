"""What a relayed reply tells of its cost: `usage` in a JSON object, or in an event of a stream."""

from __future__ import annotations

from typing import Any

from gateway.core.events import Usage
from gateway.dialects.json_codec import UNREADABLE, decode
from gateway.dialects.openai_extra import count

_MOST_JSON = 1024 * 1024
_MOST_TAIL = 64 * 1024
"""Of an event stream: usage comes in its last event."""


class UsageReader:
    """Sees a body's bytes as they pass; keeps no more than it needs."""

    def __init__(self, content_type: str) -> None:
        media = content_type.partition(";")[0].strip().lower()
        self._stream = media == "text/event-stream"
        self._json = media == "application/json"
        self._data = bytearray()

    def feed(self, data: bytes) -> None:
        if self._stream:
            self._data += data
            del self._data[: max(0, len(self._data) - _MOST_TAIL)]
        elif self._json:
            self._data += data
            if len(self._data) > _MOST_JSON:
                self._json = False
                self._data.clear()

    def usage(self) -> Usage | None:
        """At the end of the body."""
        if self._json:
            return _of(bytes(self._data))
        for line in reversed(self._data.split(b"\n") if self._stream else []):
            if line.startswith(b"data:") and (told := _of(bytes(line[5:]).strip())) is not None:
                return told
        return None


def _of(payload: bytes) -> Usage | None:
    try:
        value: Any = decode(payload)
    except UNREADABLE:
        return None
    usage = value.get("usage") if type(value) is dict else None
    if type(usage) is not dict or not usage:
        return None
    made = count(usage.get("output_tokens"))
    read = usage.get("input_tokens", usage.get("prompt_tokens"))
    return Usage(count(read), made, raw=usage)
