"""Reading a request body: bounded in bytes, in time, and in what a compressed one may grow to."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Mapping

from gateway.core.errors import BadRequest, ClientGone, SlowBody, TooLarge
from gateway.http.asgi import Receive

_DISCARD_BYTES = 64 * 1024 * 1024
_DISCARD_SECONDS = 5.0


class BodyReader:
    """Reads one request's body when called. Raises `TooLarge`, `SlowBody`, `BadRequest`, or `ClientGone`.

    `done` says that the whole body was read, so that the connection is at a message boundary and may be kept.
    """

    __slots__ = ("_asked", "_headers", "_late", "_limit", "_receive", "_seconds", "_size", "done")

    def __init__(self, receive: Receive, headers: Mapping[str, str], limit: int, seconds: float) -> None:
        self._receive = receive
        self._headers = headers
        self._limit = limit
        self._seconds = seconds
        self._asked = False
        self._late = False
        self._size = 0
        self.done = False

    async def __call__(self) -> bytes:
        declared = self._headers.get("content-length", "")
        if declared.isdigit() and int(declared) > self._limit:
            raise self._too_large()
        try:
            async with asyncio.timeout(self._seconds):
                data = await self._read()
        except TimeoutError:
            self._late = True
            raise SlowBody(f"The request body did not arrive within {self._seconds:g} s.") from None
        except asyncio.CancelledError:  # by the exchange's own deadline, or because the process stops
            self._late = True
            raise
        coding = self._headers.get("content-encoding", "identity").strip().lower()
        return data if coding in ("", "identity") else self._expand(data, coding)

    @property
    def length(self) -> int | None:
        """Bytes that were announced."""
        declared = self._headers.get("content-length", "")
        return int(declared) if declared.isdigit() else None

    async def piece(self, most: int, setting: str) -> bytes:
        """The next bytes of a body that is passed on as it comes; empty at its end. `most`: bytes of the whole body, which
        `setting` allows. Each piece has as long to arrive as whole bodies have elsewhere."""
        if self._headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
            raise BadRequest("Content-Encoding is not supported here; send the body as it is.")
        if (self.length or 0) > most:
            raise _too_large(most, setting)
        self._asked = True
        while not self.done:
            try:
                async with asyncio.timeout(self._seconds):
                    message = await self._receive()
            except (TimeoutError, asyncio.CancelledError) as late:
                self._late = True
                if isinstance(late, asyncio.CancelledError):
                    raise
                raise SlowBody(f"Nothing of the request body arrived for {self._seconds:g} s.") from None
            if message["type"] == "http.disconnect":
                raise ClientGone
            data: bytes = message.get("body", b"")
            self._size += len(data)
            self.done = not message.get("more_body")
            if self._size > most:
                raise _too_large(most, setting)
            if data:
                return data
        return b""

    async def discard(self) -> None:
        """Reads on and throws away, so that a client that writes its whole body before it looks can see our answer.

        Bounded in bytes and seconds; past them the connection is closed under the client instead. Nothing is read of a
        client that was too slow already, or that asked first (`Expect: 100-continue`) and can be told at once.
        """
        if self.done or self._late or (not self._asked and "expect" in self._headers):
            return
        left = _DISCARD_BYTES
        try:
            async with asyncio.timeout(_DISCARD_SECONDS):
                while left > 0:
                    message = await self._receive()
                    if message["type"] == "http.disconnect" or not message.get("more_body"):
                        self.done = message["type"] != "http.disconnect"
                        return
                    left -= len(message.get("body", b""))
        except TimeoutError:
            return

    async def _read(self) -> bytes:
        self._asked = True
        pieces: list[bytes] = []
        size = 0
        while not self.done:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            piece: bytes = message.get("body", b"")
            size += len(piece)
            self.done = not message.get("more_body")
            if size > self._limit:
                raise self._too_large()
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _too_large(self) -> TooLarge:
        return _too_large(self._limit, "server.max_body")

    def _expand(self, data: bytes, coding: str) -> bytes:
        make = _DECOMPRESSORS.get(coding)
        if make is None:
            known = ", ".join(_DECOMPRESSORS)
            raise BadRequest(f"Content-Encoding {coding[:32]!r} is not supported; send {known} or none.")
        stream = make()
        try:
            out = stream.decompress(data, self._limit + 1)
        except zlib.error:
            raise BadRequest(f"The request body is not valid {coding}.") from None
        if len(out) > self._limit:
            raise self._too_large()
        if not stream.eof:
            raise BadRequest(f"The request body ends before its {coding} data does.")
        if stream.unused_data:
            raise BadRequest(f"The request body goes on after its {coding} data.")
        return out


def _too_large(most: int, setting: str) -> TooLarge:
    return TooLarge(f"The request body is larger than the {most} bytes that {setting} allows.")


_DECOMPRESSORS: dict[str, Callable[[], zlib._Decompress]] = {
    "gzip": lambda: zlib.decompressobj(wbits=31),
    "deflate": lambda: zlib.decompressobj(),
}
