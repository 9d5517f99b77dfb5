"""Evidence in a file: made by `tidegate eval semantic-cache --write-evidence`, read by a route's `evidence: FILE`.

It holds scores and labels, and no text. It is bound to the encoder and the verifier that gave the scores: another's mean
something else, and such a file is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Literal

import msgspec

from cache.evidence import WINDOW, Outcome
from cache.verifier import FILE, verifier_for

_MOST_BYTES = 4 * 1024 * 1024


class EvidenceFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    format: Literal[1] = 1
    scorer: str
    outcomes: list[tuple[float, Literal["right", "wrong", "unclear"]]]


@cache
def scorer(encoder: str) -> str:
    """The name of what gives the scores: the encoder, and the verifier where there is one for it."""
    if verifier_for(encoder) is None:
        return f"{encoder}+cosine"
    return f"{encoder}+{hashlib.sha256(FILE.read_bytes()).hexdigest()[:16]}"


def write_evidence(path: Path, encoder: str, outcomes: Iterable[Outcome]) -> int:
    """The latest `WINDOW` outcomes; how many. Raises OSError."""
    kept = [(round(outcome.score, 6), outcome.label) for outcome in outcomes][-WINDOW:]
    path.write_bytes(msgspec.json.encode(EvidenceFile(scorer=scorer(encoder), outcomes=kept)) + b"\n")
    return len(kept)


def read_evidence(path: Path, encoder: str) -> list[Outcome]:
    """Raises ValueError that says what is wrong with the file and what to do."""
    remake = "make it with `tidegate eval semantic-cache --write-evidence`"
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError(f"{path} is larger than evidence can be; {remake}")
        found = msgspec.json.decode(path.read_bytes(), type=EvidenceFile)
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}; {remake}") from None
    except msgspec.MsgspecError as error:
        raise ValueError(f"{path} is no evidence file ({error}); {remake}") from None
    if found.scorer != scorer(encoder):
        raise ValueError(
            f"{path} was made with {found.scorer}, and this gateway scores with {scorer(encoder)}; {remake}"
        )
    return [Outcome(score, label) for score, label in found.outcomes[-WINDOW:]]
