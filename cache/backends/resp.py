"""Redis's wire format (RESP2), both ways. Pure: bytes in, values out."""

from __future__ import annotations

Value = bytes | int | list["Value"] | None
Reply = Value | Exception

MAX_BULK = 64 * 1024 * 1024
"""Bytes of one string; a server that announces more is not believed."""
_MAX_ITEMS = 100_000
_MAX_DEPTH = 8


class ReplyError(Exception):
    """The server refused a command. Only the error's code is kept (`OOM`, `LOADING`): the rest may quote the command."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class ProtocolError(Exception):
    """Bytes that are no RESP2. The connection is of no use any more."""


def encode(*words: bytes | str | int) -> bytes:
    """One command."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        data = word if isinstance(word, bytes) else str(word).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


def decode(data: bytearray, at: int = 0, depth: int = 0) -> tuple[Reply, int] | None:
    """The reply that starts at `at`, and where the next one does; None if it is not all there yet. Raises
    `ProtocolError`."""
    end = data.find(b"\r\n", at, at + 4096)
    if end < 0:
        if len(data) - at >= 4096:
            raise ProtocolError("a line without an end")
        return None
    kind, line, after = data[at], bytes(data[at + 1 : end]), end + 2
    if kind == 0x24:  # $
        return _bulk(data, _count(line, MAX_BULK), after)
    if kind == 0x2B:  # +
        return line, after
    if kind == 0x3A:  # :
        return _count(line, 1 << 63, negative=True), after
    if kind == 0x2D:  # -
        return ReplyError(line.split(b" ", 1)[0].decode("ascii", "replace")[:40]), after
    if kind == 0x2A:  # *
        return _array(data, _count(line, _MAX_ITEMS), after, depth)
    raise ProtocolError("an unknown kind of reply")


def _bulk(data: bytearray, size: int, at: int) -> tuple[Reply, int] | None:
    if size < 0:
        return None, at
    if len(data) < at + size + 2:
        return None
    return bytes(data[at : at + size]), at + size + 2


def _array(data: bytearray, size: int, at: int, depth: int) -> tuple[Reply, int] | None:
    if depth >= _MAX_DEPTH:
        raise ProtocolError("nested too deeply")
    if size < 0:
        return None, at
    items: list[Value] = []
    for _ in range(size):
        item = decode(data, at, depth + 1)
        if item is None:
            return None
        value, at = item
        if isinstance(value, Exception):
            raise ProtocolError("an error inside a list")
        items.append(value)
    return items, at


def _count(line: bytes, most: int, *, negative: bool = False) -> int:
    try:
        number = int(line)
    except ValueError:
        raise ProtocolError("a length that is no number") from None
    if number > most or (number < -1 and not negative):
        raise ProtocolError("a length out of bounds")
    return number
