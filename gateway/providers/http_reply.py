"""The reply under way on one connection: who waits for it, until when, and what has come so far."""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING

from gateway.providers.http_errors import Disconnected, HttpError

if TYPE_CHECKING:
    from gateway.providers.http_connection import Connection

HIGH_WATER = 256 * 1024
"""Bytes held for a reader that is slower than the upstream; beyond them the socket is not read."""
LINGER_SECONDS = 1.0


class WireReply:
    """A reply under way. `read` gives what has come, joined; `b""` is the end of a whole body.

    `read_timeout` (seconds) and `deadline` (loop time) hold for each later read and may be changed between reads.
    """

    __slots__ = (
        "_connection", "_error", "_pieces", "_size", "_waiter", "_whole", "deadline", "headed", "headers",
        "length_known", "lingering", "read_timeout", "retried", "status",
    )  # fmt: skip

    def __init__(self, connection: Connection, read_timeout: float) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        """Lower-case names; repeated headers are joined by a comma."""
        self.read_timeout = read_timeout
        self.deadline = inf
        self.retried = False
        """This reply came at the second try, because a reused connection turned out to be dead."""
        self.length_known = False
        self.lingering = False
        self._connection: Connection | None = connection
        self._pieces: list[bytes] = []
        self._size = 0
        self.headed = False
        self._whole = False
        self._error: HttpError | None = None
        self._waiter: asyncio.Future[None] | None = None

    # --- for the reader

    async def head(self) -> None:
        """Waits for status and headers. Raises HttpError."""
        while not self.headed:
            if self._error is not None:
                raise self._error
            await self._more()

    async def read(self) -> bytes:
        """Waits for more of the body. What came before a failure is given before the failure is raised."""
        while not self._pieces:
            if self._error is not None:
                raise self._error
            if self._whole:
                return b""
            await self._more()
        pieces = self._pieces
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        if self._size > HIGH_WATER and self._connection is not None:
            self._connection.resume()
        self._size = 0
        return data

    async def drain(self) -> None:
        """The reader has all it wants of a reply that is about to end: it may end by itself, so that its connection
        can be used again. Waits for nothing; a reply that goes on is dropped after a second, or 64 KiB."""
        connection = self._connection
        if connection is not None and self.headed:
            self.lingering = True
            self._pieces.clear()
            self._size = 0
            connection.resume()
            connection.watch(connection.loop.time() + LINGER_SECONDS)

    async def aclose(self) -> None:
        """Ends the reply. If it is not whole its connection is dropped, and so the upstream learns that nobody listens."""
        self.drop()

    def drop(self) -> None:
        connection = self._connection
        if connection is not None and not self.lingering:
            self._connection = None
            connection.abandon(self)

    def _more(self) -> asyncio.Future[None]:
        """Done when something has come. No coroutine: this runs for every chunk of every stream."""
        connection = self._connection
        if connection is None:
            raise Disconnected("the reply was closed", received=True)
        loop = connection.loop
        waiter = self._waiter = loop.create_future()
        connection.watch(min(loop.time() + self.read_timeout, self.deadline))
        return waiter

    # --- for the connection

    @property
    def broken(self) -> bool:
        return self._error is not None

    @property
    def waiting(self) -> bool:
        return self._waiter is not None and not self._waiter.done()

    def add_header(self, name: bytes, value: bytes) -> None:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1").strip()
        before = self.headers.get(key)
        self.headers[key] = text if before is None else f"{before}, {text}"

    def begin(self) -> None:
        self.headed = True
        self.length_known = "content-length" in self.headers or "transfer-encoding" in self.headers
        self._wake()

    def add(self, data: bytes) -> int:
        """Takes a piece of the body; gives how many bytes now wait for the reader."""
        self._size += len(data)
        if self.lingering:
            return self._size
        self._pieces.append(data)
        self._wake()
        return self._size

    def finish(self) -> None:
        self._whole = True
        self._connection = None
        self._wake()

    def fail(self, error: HttpError) -> None:
        if not self._whole and self._error is None:
            self._error = error
        self._connection = None
        self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
