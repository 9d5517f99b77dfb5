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
    refresh: bool = False
    """An entry that may be there is not wanted, only a fresh answer, which replaces it."""
    down: bool = False
    """The store is out of reach: nothing is written to it, but identical requests still wait for each other."""


class SemanticNote(msgspec.Struct, frozen=True):
    id: str
    partition: str
    text: str
    """The question as asked, masked."""
    vector: np.ndarray[Any, Any]


EXACT: Key[ExactNote] = Key("exact cache entry")
SEMANTIC: Key[SemanticNote] = Key("semantic cache entry")
