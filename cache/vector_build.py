"""Which vector store a configuration means."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cache.config import SemanticConfig, is_server, kept_on_disk
from cache.stores import VectorStore
from gateway.core.clock import Clock
from gateway.core.fingerprint import digest
from gateway.core.ports import Embed

if TYPE_CHECKING:
    from cache.backends.qdrant_server import QdrantLink


def vector_store(
    route: str, config: SemanticConfig, embed: Embed, clock: Clock, qdrant: str, link: Callable[[], QdrantLink]
) -> VectorStore:
    """`link` gives the process's Qdrant client. numpy and that client are loaded only where a route needs them: 25 and
    54 MB."""
    entries = config.max_entries
    if is_server(qdrant):
        from cache.backends.qdrant_server import QdrantServer

        return QdrantServer(link().client, clock, route=route, encoder=embed.id, dim=embed.dim, max_entries=entries)
    sizes: dict[str, Any] = {"dim": embed.dim, "max_entries": entries, "max_bytes": config.max_bytes}
    if kept_on_disk(qdrant):
        from cache.backends.vector_disk import VectorDisk

        file = Path(qdrant) / f"semantic-{digest(route)[:12]}.sqlite"
        return VectorDisk(file, clock, encoder=embed.id, **sizes)
    from cache.backends.vector_memory import VectorMemory

    return VectorMemory(clock, **sizes)
