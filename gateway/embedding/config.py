"""The `embedding:` section: who turns texts into vectors, when that is not the gateway itself."""

from __future__ import annotations

import msgspec

from gateway.core.units import Duration

MOST_TEXTS = 2048
MOST_DIM = 8192


class EmbeddingConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A provider's `/v1/embeddings` for the intent router and the semantic caches. Absent: the built-in MiniLM, on this
    machine. Checks that need an encoder use the built-in one in any case: they were trained with it."""

    model: str
    """The provider's name for it; without `provider`, an alias of `models:` with one target."""
    provider: str | None = None
    """A key of `providers:`."""
    dim: int
    """Numbers in a vector. Another number in a reply is a failure."""
    send_dim: bool = True
    """Ask for `dim` (`dimensions` in the call). `false` where the server refuses the field: the model has one `dim` only."""
    deadline: Duration = Duration(0.3)
    """For one text, the wait for others included. After it the question goes on without: a miss, no intent."""
    batch: int = 64
    """Texts of one call, at most."""
    revision: str = ""
    """Part of the encoder's id. Change it when the same name means other weights: vectors of the two do not mix."""


def encoder_id(kind: str, model: str, config: EmbeddingConfig) -> str:
    """`openai:text-embedding-3-small:512`. `kind`: the provider's type."""
    return f"{kind}:{model}:{config.dim}" + (f"@{config.revision}" if config.revision else "")
