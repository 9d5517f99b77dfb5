"""What a request's query string says. It may hold a credential, so it is never logged or told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from gateway.http.asgi import Headers

KEY_HEADER = b"x-goog-api-key"
_MOST_FIELDS = 32


def query(scope: Mapping[str, Any]) -> dict[str, list[str]]:
    """Field to values. Empty for one that cannot be read."""
    given: bytes = scope.get("query_string") or b""
    try:
        return parse_qs(given.decode("latin-1"), max_num_fields=_MOST_FIELDS) if given else {}
    except ValueError:
        return {}


def with_key(scope: Mapping[str, Any]) -> Headers:
    """The request's headers, with the credential of Google's `?key=` among them, where no header has one."""
    headers: Headers = list(scope["headers"])
    given = query(scope).get("key")
    if given and not any(name == KEY_HEADER for name, _ in headers):
        headers.append((KEY_HEADER, given[0].encode("latin-1", "replace")))
    return headers
