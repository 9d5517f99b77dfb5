"""What a lookup leaves for the tap: where the answer would be stored. No note, nothing stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from gateway.core.facts import Key

if TYPE_CHECKING:
    import numpy as np


class ExactNote(msgspec.Struct, frozen=True):
    id: str
    key: str


class SemanticNote(msgspec.Struct, frozen=True):
    id: str
    partition: str
    text: str
    """The question as asked, masked."""
    vector: np.ndarray[Any, Any]


EXACT: Key[ExactNote] = Key("exact cache entry")
SEMANTIC: Key[SemanticNote] = Key("semantic cache entry")
