"""A request's body that is sent as it comes, piece by piece, to an upstream that may answer before it has all of it."""

from __future__ import annotations

from gateway.core.passing import Sending
from gateway.providers.http_connection import Connection
from gateway.providers.http_errors import Disconnected, ReadTimeout
from gateway.providers.http_reply import WireReply

STALL_SECONDS = 60.0
"""How long an upstream may take nothing of what is sent to it."""


async def send_body(connection: Connection, reply: WireReply, body: Sending, read: float, deadline: float) -> None:
    """Writes the body, no faster than it is taken. Stops when the reply begins: whatever it says, the rest is not wanted.
    Raises `ReadTimeout`, `Disconnected`, and what `body.pieces` raises."""
    left = body.length
    async for piece in body.pieces:
        if reply.headed or reply.broken:
            return
        if not piece:
            continue  # as a chunk it would be the last one
        if left is not None:
            left -= len(piece)
            if left < 0:
                raise Disconnected("the body is longer than it said", received=False)
        data = piece if left is not None else b"%x\r\n%b\r\n" % (len(piece), piece)
        expires = min(connection.loop.time() + min(STALL_SECONDS, read), deadline)
        try:
            await connection.more(data, expires)
        except TimeoutError:
            raise ReadTimeout("the upstream took nothing in time") from None
    if left:
        raise Disconnected("the body is shorter than it said", received=False)
    if left is None:
        await connection.more(b"0\r\n\r\n", deadline)
    connection.sent()
