"""HTTP/1.1 by hand, both ways: strict and bounded when reading, and obedient, however wrong the order, when writing."""

from __future__ import annotations

import asyncio
import email.utils
import http
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from gateway.faults.steps import (
    Close,
    Data,
    End,
    Forever,
    Framing,
    Gate,
    Hang,
    Head,
    Pause,
    Raw,
    Reset,
    Slow,
    Wire,
)

MOST_HEADERS = 256 << 10
MOST_BODY = 64 << 20
MOST_AHEAD = 1 << 20  # bytes a client may send while it is being answered


class BadRequest(ValueError):
    """The client's bytes are not a request we can read."""


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Link:
    """One client's connection: requests in, and word when the client has gone."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._ahead = bytearray()

    async def request(self) -> Request | None:
        """The next request; None when the client closed between requests. Raises BadRequest."""
        head = await self._until(b"\r\n\r\n", MOST_HEADERS)
        if head is None:
            return None
        first, *lines = head[:-4].decode("latin-1").split("\r\n")
        parts = first.split(" ")
        if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
            raise BadRequest(f"not an HTTP/1 request line: {first[:80]!r}")
        pairs = (line.partition(":") for line in lines)
        fields = tuple((name, value.strip()) for name, _, value in pairs)
        return Request(parts[0], parts[1], fields, await self._body({name.lower(): value for name, value in fields}))

    async def left(self) -> None:
        """Returns when the client has closed, reset, or flooded the connection. Keeps what it sent for later."""
        while len(self._ahead) <= MOST_AHEAD:
            if not await self._more():
                return

    async def _body(self, fields: dict[str, str]) -> bytes:
        if "chunked" in fields.get("transfer-encoding", ""):
            return await self._chunked()
        length = fields.get("content-length", "0")
        if not length.isdigit() or int(length) > MOST_BODY:
            raise BadRequest(f"Content-Length {length[:20]!r}: not a number up to {MOST_BODY}")
        return await self._exactly(int(length))

    async def _chunked(self) -> bytes:
        body = bytearray()
        while True:
            line = await self._until(b"\r\n", 1024)
            try:
                size = int((line or b"").split(b";")[0], 16)
            except ValueError:
                raise BadRequest(f"not a chunk size: {line!r}") from None
            if len(body) + size > MOST_BODY:
                raise BadRequest(f"body over {MOST_BODY} bytes")
            body += (await self._exactly(size + 2))[:-2]
            if size == 0:
                return bytes(body)

    async def _until(self, mark: bytes, most: int) -> bytes | None:
        searched = 0
        while (at := self._ahead.find(mark, max(0, searched - len(mark)))) < 0:
            searched = len(self._ahead)
            if searched > most:
                raise BadRequest(f"no {mark!r} within {most} bytes")
            if not await self._more():
                if self._ahead:
                    raise BadRequest("the client left in the middle of a request")
                return None
        return self._take(at + len(mark))

    async def _exactly(self, size: int) -> bytes:
        while len(self._ahead) < size:
            if not await self._more():
                raise BadRequest("the client left in the middle of a body")
        return self._take(size)

    def _take(self, size: int) -> bytes:
        taken = bytes(self._ahead[:size])
        del self._ahead[:size]
        return taken

    async def _more(self) -> bool:
        try:
            read = await self._reader.read(1 << 16)
        except ConnectionError:
            return False
        self._ahead += read
        return bool(read)


class Player:
    """Plays wire steps on a socket. After ``play``: ``finished`` and ``reusable`` say how it ended, ``sent`` how much."""

    def __init__(self, writer: asyncio.StreamWriter, number: int, pause: float, limit: float) -> None:
        self._writer, self._number, self._pause, self._limit = writer, number, pause, limit
        self._framing: Framing = "length"
        self._size = 0  # bytes at a time; 0: all at once
        self.sent, self.finished, self.reusable = 0, False, False

    async def play(self, steps: Iterable[Wire]) -> None:
        for step in steps:
            await self._step(step)

    async def _step(self, step: Wire) -> None:
        match step:
            case Head():
                self._framing = step.framing
                await self._write(self._head(step))
            case Data(content):
                await self._data(content)
            case Raw(content):
                await self._write(content)
            case Slow(size):
                self._size = size
            case Pause(times):
                await asyncio.sleep(self._pause * times)
            case Gate(event):
                await event.wait()
            case Forever(item):
                assert isinstance(item, Data)
                while True:
                    await self._data(item.content)
                    await asyncio.sleep(self._pause)
            case End():
                if self._framing == "chunked":
                    await self._write(b"0\r\n\r\n")
                self.finished, self.reusable = True, self._framing != "close"
            case Hang():
                await asyncio.sleep(self._limit)
            case Reset():
                # Linger of zero: closing sends RST. What was written before is usually read first, but only usually;
                # put a Pause before it where that matters.
                raw: socket.socket = self._writer.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self._writer.transport.abort()
            case Close():
                self._writer.close()

    def _head(self, head: Head) -> bytes:
        known = head.status in http.HTTPStatus._value2member_map_
        lines = [f"HTTP/1.1 {head.status} {http.HTTPStatus(head.status).phrase if known else 'Unknown'}"]
        lines += [f"{name}: {value() if callable(value) else value}" for name, value in head.headers]
        lines += [f"date: {email.utils.formatdate(usegmt=True)}", f"x-request-id: upstream-{self._number}"]
        lines += {
            "chunked": ["transfer-encoding: chunked"],
            "length": [f"content-length: {head.declare}"],
            "close": ["connection: close"],
        }[head.framing]
        return "\r\n".join([*lines, "\r\n"]).encode("latin-1")

    async def _data(self, content: bytes) -> None:
        if self._framing == "chunked" and content:
            content = b"%x\r\n%b\r\n" % (len(content), content)
        await self._write(content)

    async def _write(self, content: bytes) -> None:
        size = self._size or len(content) or 1
        for at in range(0, len(content), size):
            if self._size:
                await asyncio.sleep(self._pause)
            piece = content[at : at + size]
            self._writer.write(piece)
            await self._writer.drain()
            self.sent += len(piece)
