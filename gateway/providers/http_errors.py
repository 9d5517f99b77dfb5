"""What can go wrong between us and an upstream, below the meaning of any status code.

Messages hold no URL, header or body: `Upstream` turns them into faults that clients read.
"""

from __future__ import annotations


class HttpError(Exception):
    """Base: the exchange with the upstream broke."""


class ConnectFailed(HttpError):
    """No connection: refused, unreachable, unknown host, or TLS that does not verify."""


class ConnectTimeout(HttpError):
    """No connection within the connect time-out, waiting for a free one included."""


class PoolFull(HttpError):
    """Every connection is in use and the queue for one is full. Nothing was sent."""


class ReadTimeout(HttpError):
    """The upstream sent nothing for too long, or the reply's deadline passed."""


class Disconnected(HttpError):
    """The connection ended before the reply did. `received` says whether any byte of the reply had come."""

    def __init__(self, message: str, *, received: bool) -> None:
        super().__init__(message)
        self.received = received


class BadReply(HttpError):
    """Bytes that are not HTTP/1.1, or a head, encoding or body beyond our limits."""
