"""Where a request goes, and its bytes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import urlsplit

from gateway.providers.http_pool import Origin

Headers = Sequence[tuple[str, str]]
CHUNKED = "transfer-encoding: chunked"
METHODS = frozenset(("GET", "POST", "PUT", "PATCH", "DELETE"))
"""No HEAD and no CONNECT: their replies have no body whatever their headers say."""


class Where(NamedTuple):
    origin: Origin
    target: str
    host: str


@lru_cache(maxsize=1024)
def where_of(url: str) -> Where:
    """Splits a URL. Raises ValueError for what is not plain http(s), and for what could change the request line."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise ValueError("an upstream's URL is http://host[:port]/path or https://..., without a user name")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not target.isascii() or any(ord(c) <= 32 or ord(c) == 127 for c in target):
        raise ValueError("an upstream's path holds characters that must be percent-encoded")
    tls = parts.scheme == "https"
    port = parts.port or (443 if tls else 80)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    if port != (443 if tls else 80):
        host = f"{host}:{port}"
    return Where(Origin(parts.hostname, port, tls), target, host)


def is_token(name: str) -> bool:
    """Whether a text may be a header's name."""
    return name.isascii() and bool(name) and all(c.isalnum() or c in "!#$%&'*+-.^_`|~" for c in name)


def wrong_url(url: str) -> str | None:
    """What is wrong with a base URL, in words for whoever wrote it; None when nothing is."""
    try:
        where = where_of(url)
    except ValueError as error:
        return str(error)
    return "a base URL has no query" if "?" in where.target or "#" in url else None


def request_bytes(method: str, where: Where, headers: Headers, body: bytes) -> bytes:
    """Head and body in one piece, for one write. Raises ValueError for a header that holds a line break."""
    return request_head(method, where, headers, len(body)) + body


def request_head(method: str, where: Where, headers: Headers, length: int | None) -> bytes:
    """The head of a request whose body has `length` bytes; None: it is sent in chunks. Raises as above."""
    lines = [f"{method} {where.target} HTTP/1.1", f"host: {where.host}", "accept-encoding: identity"]
    lines += [f"{name}: {value}" for name, value in headers]
    lines += [CHUNKED if length is None else f"content-length: {length}", "\r\n"]
    head = "\r\n".join(lines)
    if head.count("\n") != len(lines) or head.count("\r") != len(lines) or "\0" in head:
        raise ValueError("a header for the upstream holds a line break or a null")
    return head.encode("latin-1")
