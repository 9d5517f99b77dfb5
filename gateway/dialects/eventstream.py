"""AWS's binary event stream (`application/vnd.amazon.eventstream`), read incrementally: any chunking, every checksum.

One message: total length and length of the headers (4 bytes each), CRC-32 of those 8; headers; payload; CRC-32 of all
before it. A header: length of its name (1 byte), name, type (1 byte), value. Source: the Smithy specification,
"Amazon Event Stream Specification".
"""

from __future__ import annotations

import struct
from typing import NamedTuple
from zlib import crc32

MAX_MESSAGE = 8 * 1024 * 1024
"""Bytes of one message, as for one event of the other dialects. AWS allows 24 MiB."""
MAX_HEADERS = 128 * 1024
_PRELUDE = 12
_LEAST = _PRELUDE + 4
_FIXED = {2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""Bytes of a header's value by its type: byte, short, int, long, timestamp, uuid."""


class Malformed(Exception):
    """Bytes that are no event stream, or not what was sent. The message is a short reason, never the bytes."""


class Message(NamedTuple):
    """`headers`: those whose value is text, which are all that say what a message is; names as they came."""

    headers: dict[str, str]
    payload: bytes


class EventStream:
    """Feed it bytes, get whole messages. After it raised `Malformed` nothing more can be read."""

    __slots__ = ("_pieces", "_size", "_wanted")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0
        self._wanted = _PRELUDE

    @property
    def within(self) -> bool:
        """The bytes so far end within a message."""
        return self._size > 0

    def feed(self, data: bytes) -> list[Message]:
        """The messages that `data` completed. Work is linear in the bytes fed, however small the pieces."""
        if not data:
            return []
        self._pieces.append(data)
        self._size += len(data)
        if self._size < self._wanted:
            return []
        held = b"".join(self._pieces)
        at = 0
        found: list[Message] = []
        while True:
            self._wanted = _PRELUDE
            if len(held) - at < _PRELUDE:
                break
            total, headers = _lengths(held, at)
            self._wanted = total
            if len(held) - at < total:
                break
            found.append(_message(held, at, total, headers))
            at += total
        self._pieces = [held[at:]] if at < len(held) else []
        self._size = len(held) - at
        return found


def _lengths(data: bytes, at: int) -> tuple[int, int]:
    total, headers, check = struct.unpack_from(">III", data, at)
    if crc32(data[at : at + 8]) != check:
        raise Malformed("the checksum of a message's head is wrong")
    if total > MAX_MESSAGE:
        raise Malformed("a message is larger than the gateway reads")
    if headers > MAX_HEADERS or total < _LEAST + headers:
        raise Malformed("the lengths of a message contradict each other")
    return total, headers


def _message(data: bytes, at: int, total: int, headers: int) -> Message:
    end = at + total - 4
    if crc32(memoryview(data)[at:end]) != struct.unpack_from(">I", data, end)[0]:
        raise Malformed("the checksum of a message is wrong")
    start = at + _PRELUDE
    return Message(_headers(data[start : start + headers]), data[start + headers : end])


def _headers(data: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    at = 0
    try:
        while at < len(data):
            size = data[at]
            name = data[at + 1 : at + 1 + size].decode()
            at += 1 + size
            kind = data[at]
            at += 1
            if kind in (6, 7):
                (size,) = struct.unpack_from(">H", data, at)
                at += 2
                if kind == 7:
                    found[name] = data[at : at + size].decode()
            elif kind > 1:  # 0 and 1 are true and false, and have no value
                size = _FIXED[kind]
            else:
                size = 0
            at += size
    except (IndexError, KeyError, UnicodeDecodeError, struct.error):
        raise Malformed("the headers of a message cannot be read") from None
    if at != len(data):
        raise Malformed("the headers of a message cannot be read")
    return found
