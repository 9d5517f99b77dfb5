"""Lists of what a provider keeps, looked through for what is the caller's: the account is everybody's, so a page of the
provider's may hold nothing of it, and clients take an empty page for the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from gateway.core.errors import UpstreamFailed
from gateway.dialects.json_codec import UNREADABLE, decode

MOST_PAGES = 20
"""Of the provider's, in one answer."""


class Pages:
    """Called with each page of the provider's, whole; gives the path of the next one that must be looked through."""

    def __init__(
        self, path: str, query: list[tuple[str, str]], most: int, owns: Callable[[dict[str, Any]], bool]
    ) -> None:
        """`query`: of the first page. `most`: entries that are wanted."""
        self._path = path
        self._query = query
        self._owns = owns
        self.most = most
        self.begin()

    def begin(self) -> None:
        """Another call: what an earlier one found is forgotten."""
        self.mine: list[dict[str, Any]] = []
        self.page: dict[str, Any] = {}
        self.last = ""
        """The provider's id of the last entry that was looked at."""
        self._count = 0

    @property
    def first(self) -> str:
        return self._at(self._query)

    @property
    def goes_on(self) -> bool:
        """There is more behind what was looked at."""
        return bool(self.page.get("has_more")) and bool(self.last)

    def __call__(self, data: bytes) -> str | None:
        """Raises `UpstreamFailed` for what is no list."""
        try:
            page = decode(data)
        except UNREADABLE:
            page = None
        if type(page) is not dict or type(page.get("data")) is not list:
            raise UpstreamFailed("The upstream's answer could not be read: it is not a list.")
        items = [item for item in page["data"] if type(item) is dict]
        self.page, self.last = page, str(items[-1].get("id") or "") if items else ""
        self.mine += [item for item in items if self._owns(item)]
        self._count += 1
        if not self.goes_on or len(self.mine) >= self.most or self._count >= MOST_PAGES:
            return None
        return self._at([pair for pair in self._query if pair[0] != "after"] + [("after", self.last)])

    def _at(self, query: list[tuple[str, str]]) -> str:
        return f"{self._path}?{urlencode(query)}" if query else self._path
