"""Where a provider is asked: base URLs with places to fill in, paths that name the model, query parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote, urlencode

_PLACE = re.compile(r"\{([a-z_]*)\}")
MODEL = "{model}"


def filled(url: str, places: Mapping[str, str]) -> str:
    """A base URL with `{region}` and the like filled in, as far as they are known."""
    return _PLACE.sub(lambda match: places.get(match[1], match[0]), url) if "{" in url else url


def open_places(url: str) -> list[str]:
    """The names of the places that nothing filled in."""
    return _PLACE.findall(url)


class Paths:
    """The path of each operation below the base URL: the profile's, else the dialect's own. A key such as `chat_stream` is
    for the streams of that operation, where they have a path of their own."""

    def __init__(self, paths: Mapping[str, str], query: Mapping[str, str]) -> None:
        self._paths = dict(paths)
        self._query = urlencode(query)

    def of(self, operation: str, model: str, own: str, stream: bool = False) -> str:
        """`own`: what the dialect said. `model`: what the provider calls the model."""
        path = own
        if self._paths:
            path = self._paths.get(operation, own)
            if stream:
                path = self._paths.get(f"{operation}_stream", path)
        if MODEL in path:
            path = path.replace(MODEL, quote(model, safe="@"))
        if self._query:
            path = f"{path}{'&' if '?' in path else '?'}{self._query}"
        return path
