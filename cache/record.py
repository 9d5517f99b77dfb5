"""One cache entry, and its bytes."""

from __future__ import annotations

import msgspec

from gateway.core.response import Response


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer and what it belongs to. Holds masked text only: the tap sits before the restoring stage."""

    key: str
    """The whole exact key, or the partition. Compared again on reading, whatever the store's own filter did."""
    response: Response
    created: float
    """Unix seconds."""
    text: str = ""
    """Semantic entries: the question, masked, as asked. The vetoes compare it with the new one."""


_ENCODE = msgspec.msgpack.Encoder().encode
_DECODE = msgspec.msgpack.Decoder(Entry).decode


MAX_ENTRY = 4 * 1024 * 1024
"""Bytes of one packed entry; log-probabilities can make a short answer long."""


def pack(entry: Entry) -> bytes:
    """msgpack. Raises OverflowError for an integer beyond 64 bits in an upstream's unknown fields, ValueError for an
    entry above `MAX_ENTRY`."""
    data = _ENCODE(entry)
    if len(data) > MAX_ENTRY:
        raise ValueError(f"an entry of {len(data)} bytes is above the {MAX_ENTRY} a cache takes")
    return data


def unpack(data: bytes) -> Entry | None:
    """None for bytes that are no entry of this version: a store shared with an older gateway is a miss, not an error."""
    try:
        return _DECODE(data)
    except msgspec.MsgspecError:
        return None
