"""What a provider tells of what it keeps, told to the one it is kept for: ids sealed, marks taken off, others' left out."""

from __future__ import annotations

from typing import Any

from gateway.core.exchange import Exchange
from gateway.relay.pages import Pages
from gateway.relay.seal import MARKED, METADATA, Seals

_IDS = ("id", "input_file_id", "output_file_id", "error_file_id", "upload_id", "file_id")


class Ids:
    """Both ways between the provider's bookkeeping and the client's view of it."""

    def __init__(self, seals: Seals) -> None:
        self.seals = seals

    def mark_name(self, exchange: Exchange) -> str:
        """Goes before a file's name: `tg-<24 hex digits>-`."""
        return f"tg-{self.seals.mark(exchange.principal)}-"

    def mark_metadata(self, exchange: Exchange) -> dict[str, str]:
        return {METADATA: self.seals.mark(exchange.principal)}

    def told(self, value: dict[str, Any], provider: str, exchange: Exchange) -> dict[str, Any]:
        """The answer as the client gets it; `value` is written to."""
        for name in _IDS:
            raw = value.get(name)
            if type(raw) is str and raw:
                value[name] = self.seals.seal(raw, provider, exchange.principal)
        filename, metadata, file = value.get("filename"), value.get("metadata"), value.get("file")
        if type(filename) is str:
            value["filename"] = MARKED.sub("", filename, count=1)
        if type(metadata) is dict:
            metadata.pop(METADATA, None)
        if type(file) is dict:
            self.told(file, provider, exchange)
        return value

    def listed(self, pages: Pages, provider: str, exchange: Exchange) -> dict[str, Any]:
        """A list of what is the caller's. Where too much had to be looked through, `last_id` says from where to go on, also
        when nothing was found."""
        mine, most = pages.mine[: pages.most], pages.most
        told = {**pages.page, "data": [self.told(item, provider, exchange) for item in mine]}
        told["first_id"] = mine[0].get("id") if mine else None
        told["last_id"] = mine[-1].get("id") if mine else None
        told["has_more"] = len(pages.mine) > most or pages.goes_on
        if pages.goes_on and len(mine) < most:
            told["last_id"] = self.seals.seal(pages.last, provider, exchange.principal, "cursor")
            exchange.warnings.append("list_incomplete")
        return told

    def owns(self, item: dict[str, Any], exchange: Exchange) -> bool:
        name, metadata = item.get("filename"), item.get("metadata")
        if type(name) is str and name.startswith(self.mark_name(exchange)):
            return True
        return type(metadata) is dict and metadata.get(METADATA) == self.seals.mark(exchange.principal)
