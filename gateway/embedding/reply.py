"""The body of an embeddings reply, read into unit vectors or refused."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

Array = np.ndarray[Any, Any]


class _Row(msgspec.Struct):
    embedding: list[float]
    index: int | None = None


class _Reply(msgspec.Struct):
    data: list[_Row]


_DECODE = msgspec.json.Decoder(_Reply).decode


def vectors_of(body: bytes, count: int, dim: int) -> Array:
    """Shape (count, dim), float32, rows of length 1, in the order that was asked. Raises ValueError in words that are safe
    to show: they hold numbers and nothing of the body."""
    try:
        rows = _DECODE(body).data
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise ValueError("the reply is no list of embeddings") from None
    places = [at if row.index is None else row.index for at, row in enumerate(rows)]
    if sorted(places) != list(range(count)):
        raise ValueError(f"{len(rows)} vectors came for {count} texts, or not one for each")
    out = np.empty((count, dim), np.float64)
    for place, row in zip(places, rows, strict=True):
        if len(row.embedding) != dim:
            raise ValueError(f"vectors have {len(row.embedding)} numbers, and embedding.dim says {dim}")
        out[place] = row.embedding
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = np.linalg.norm(out, axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or (lengths < 1e-12).any():
        raise ValueError("a vector has no direction")
    made: Array = (out / lengths).astype(np.float32)
    return made
