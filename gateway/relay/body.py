"""A client's body on its way to a provider: held as far as it had to be read, then passed on piece by piece."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Protocol

from gateway.core.errors import BadRequest
from gateway.core.passing import Sending
from gateway.relay.multipart import Scan, boundary_of

KEEP = 1024 * 1024
"""Bytes up to which a body is held whole, so that it can be sent to a second target."""


class Incoming(Protocol):
    """The client's body, as the edge offers it."""

    length: int | None
    """Bytes that were announced."""

    async def piece(self) -> bytes:
        """The next bytes; empty at the end. Raises `SlowBody`, `TooLarge`, `ClientGone`."""
        ...


class Form:
    """A form with files in it, as an `Upload`."""

    def __init__(self, incoming: Incoming, scan: Scan) -> None:
        self._incoming = incoming
        self._scan = scan
        self._held = bytearray()
        self._edits: list[tuple[int, int, bytes]] = []
        self._ended = False

    @property
    def repeatable(self) -> bool:
        return self._ended

    @property
    def ended(self) -> bool:
        """The client has sent all of it."""
        return self._ended

    def first_file(self) -> tuple[int, ...]:
        """Where the first file's name begins, each time. Raises `BadRequest` when none was found in what is held."""
        for part in self._scan.parts:
            if part.filenames:
                return part.filenames
        raise BadRequest("file is missing from the form, or has no file name.", param="file")

    def field(self, name: str) -> str | None:
        part = self._scan.field(name)
        return part.value if part is not None else None

    async def hold(self, enough: Callable[[Scan], bool], most: int) -> bool:
        """Reads until `enough` is there; whether it is. Small bodies are read whole. No more than `most` bytes are held."""
        length = self._incoming.length
        whole = length is not None and length <= min(KEEP, most)
        while (whole or not enough(self._scan)) and not self._ended and len(self._held) < most:
            await self._more()
        return enough(self._scan)

    def put(self, start: int, end: int, text: bytes) -> None:
        """Writes `text` in place of what stands there in the held part."""
        self._edits.append((start, end, text))

    def sending(self, model: str) -> Sending:
        edits = list(self._edits)
        part = self._scan.field("model")
        if model and part is not None and part.end is not None:
            edits.append((part.start, part.end, model.encode()))
        data = bytes(self._held)
        for start, end, text in sorted(edits, reverse=True):
            data = data[:start] + text + data[end:]
        length = self._incoming.length
        if self._ended:
            length = len(data)
        elif length is not None:
            length += len(data) - len(self._held)
        return Sending(self._pieces(data), length)

    async def _pieces(self, first: bytes) -> AsyncIterator[bytes]:
        yield first
        while not self._ended:
            data = await self._read()
            if data:
                yield data

    async def _more(self) -> None:
        self._held += await self._read()

    async def _read(self) -> bytes:
        data = await self._incoming.piece()
        if data:
            self._scan.feed(data)
        else:
            self._scan.close()
            self._ended = True
        return data


def form_of(incoming: Incoming, content_type: str, fields: frozenset[str]) -> Form:
    """Raises `BadRequest` for what is no form."""
    return Form(incoming, Scan(boundary_of(content_type), fields))


def named(form: Form, field: str) -> str:
    """A field's value. Raises `BadRequest` when the form does not say it."""
    value = form.field(field)
    if not value:
        raise BadRequest(f"{field} is missing from the form.", param=field)
    return value
