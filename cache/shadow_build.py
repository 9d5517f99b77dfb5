"""From a route's configuration to its evidence, and to where that is kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cache.config import ASSUME, REQUIRED, SemanticConfig, kept_on_disk
from cache.evidence import Evidence
from cache.evidence_file import read_evidence, scorer
from cache.shadow import Log, Shadow
from cache.stores import VectorStore
from gateway.core.fingerprint import digest
from gateway.core.ports import Embed

if TYPE_CHECKING:
    from cache.backends.redis_link import RedisLink


def shadow_of(
    route: str,
    config: SemanticConfig,
    embed: Embed,
    store: VectorStore,
    *,
    redis: RedisLink | None,
    qdrant: str,
    base: Path,
) -> Shadow:
    """`base`: the folder of the configuration. Raises ValueError for an evidence file that cannot be used."""
    evidence = Evidence(threshold=config.threshold, rate=config.max_false_hit_rate, assumed=config.evidence == ASSUME)
    given = []
    if config.evidence not in (REQUIRED, ASSUME):
        try:
            given = read_evidence(base / config.evidence, embed.id)
        except ValueError as error:
            raise ValueError(f"routes.{route}.cache.semantic.evidence: {error}") from None
    return Shadow(evidence, embed, store, _log(route, embed, redis, qdrant), given)


def _log(route: str, embed: Embed, redis: RedisLink | None, qdrant: str) -> Log | None:
    """In Redis where there is one, for all processes; else beside vectors that are kept on disk; else nowhere.
    The name holds what gives the scores, and not the route's revision: evidence outlives an edit of the route."""
    name = f"{route}\n{scorer(embed.id)}"
    if redis is not None:
        from cache.backends.evidence_redis import RedisLog

        return RedisLog(redis, name)
    if kept_on_disk(qdrant):
        from cache.backends.evidence_disk import DiskLog

        return DiskLog(Path(qdrant) / f"evidence-{digest(name)[:12]}.jsonl")
    return None
