"""Replies that came compressed although identity was asked for: decoded, within bounds."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from gateway.providers.http_errors import BadReply

if TYPE_CHECKING:
    from gateway.providers.http_client import HttpReply

PIECE = 64 * 1024
FREE = 1024 * 1024
RATIO = 100
"""A reply may grow to `FREE + RATIO * bytes on the wire`. Text compresses 3 to 20 times; a bomb 1000 times."""


class Inflated:
    """A gzip or deflate reply, read as if it had come plain."""

    def __init__(self, reply: HttpReply) -> None:
        self._reply = reply
        self.status = reply.status
        self.headers = {name: value for name, value in reply.headers.items() if name != "content-encoding"}
        self.retried = reply.retried
        self._inflate = zlib.decompressobj(wbits=47)  # zlib or gzip, by its header
        self._wire = self._plain = 0
        self._full = False
        """The last piece was cut to size, so there may be more without reading."""

    @classmethod
    async def of(cls, reply: HttpReply) -> Inflated:
        """Raises BadReply, and ends the reply, when the encoding is one we did not ask for and cannot read."""
        encoding = reply.headers["content-encoding"].strip().lower()
        if encoding not in ("gzip", "x-gzip", "deflate"):
            await reply.aclose()
            raise BadReply("the upstream compressed its reply with an encoding that was not asked for")
        return cls(reply)

    @property
    def read_timeout(self) -> float:
        return self._reply.read_timeout

    @read_timeout.setter
    def read_timeout(self, seconds: float) -> None:
        self._reply.read_timeout = seconds

    @property
    def deadline(self) -> float:
        return self._reply.deadline

    @deadline.setter
    def deadline(self, when: float) -> None:
        self._reply.deadline = when

    async def read(self) -> bytes:
        inflate = self._inflate
        while True:
            if inflate.eof:
                if inflate.unused_data or await self._reply.read():
                    raise BadReply("the upstream's compressed reply goes on after its end")
                return b""
            tail = inflate.unconsumed_tail
            if not tail and not self._full:
                tail = await self._reply.read()
                if not tail:
                    raise BadReply("the upstream's compressed reply is cut")
                self._wire += len(tail)
            try:
                data = inflate.decompress(tail, PIECE)
            except zlib.error:
                raise BadReply("the upstream's compressed reply is damaged") from None
            self._full = len(data) == PIECE
            self._plain += len(data)
            if self._plain > FREE + RATIO * self._wire:
                raise BadReply("the upstream's compressed reply grows beyond all measure")
            if data:
                return data

    async def drain(self) -> None:
        await self._reply.drain()

    async def aclose(self) -> None:
        await self._reply.aclose()
