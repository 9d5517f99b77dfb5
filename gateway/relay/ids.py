"""What a provider tells of what it keeps, told to the one it is kept for: ids sealed, marks taken off, others' left out."""

from __future__ import annotations

from typing import Any

from gateway.core.exchange import Exchange
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
        """The answer as the client gets it. Of lists only what is the caller's; `value` is written to."""
        if type(value.get("data")) is list and value.get("object") == "list":
            return self._listed(value, provider, exchange)
        return self._one(value, provider, exchange)

    def _one(self, value: dict[str, Any], provider: str, exchange: Exchange) -> dict[str, Any]:
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
            self._one(file, provider, exchange)
        return value

    def _listed(self, value: dict[str, Any], provider: str, exchange: Exchange) -> dict[str, Any]:
        """One page of the provider's. Where it goes on behind it, `last_id` says from where, also when nothing on it was the
        caller's."""
        items = [item for item in value["data"] if type(item) is dict]
        mine = [item for item in items if self._owns(item, exchange)]
        passing = exchange.asked().passing
        most = passing.most if passing is not None else None
        behind = None
        if most is not None and len(mine) > most:
            mine, value["has_more"] = mine[:most], True
        elif value.get("has_more") and items:
            behind = self.seals.seal(str(items[-1].get("id")), provider, exchange.principal, "cursor")
            if not mine:
                exchange.warnings.append("list_incomplete")
        value["data"] = [self._one(item, provider, exchange) for item in mine]
        value["first_id"] = mine[0].get("id") if mine else None
        value["last_id"] = behind or (mine[-1].get("id") if mine else None)
        return value

    def _owns(self, item: dict[str, Any], exchange: Exchange) -> bool:
        name, metadata = item.get("filename"), item.get("metadata")
        if type(name) is str and name.startswith(self.mark_name(exchange)):
            return True
        return type(metadata) is dict and metadata.get(METADATA) == self.seals.mark(exchange.principal)
