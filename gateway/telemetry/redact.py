"""What telemetry may hold of people and of bugs: keyed hashes for names, places in the code for exceptions."""

from __future__ import annotations

import hashlib
import traceback
from types import TracebackType

_MOST_FRAMES = 8


class Pseudonyms:
    """Turns end-user and session names into short keyed hashes: the same within one secret, useless outside it."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret[:64]

    def of(self, name: str) -> str:
        if not name:
            return ""
        return hashlib.blake2b(name.encode("utf-8", "surrogateescape"), key=self._secret, digest_size=8).hexdigest()


def where(trace: TracebackType | None) -> list[str]:
    """The innermost frames, as `package/file.py:12 function`: no source lines, no values, no machine's paths."""
    frames = traceback.StackSummary.extract(traceback.walk_tb(trace), lookup_lines=False)[-_MOST_FRAMES:]
    return [f"{'/'.join(frame.filename.split('/')[-3:])}:{frame.lineno} {frame.name}" for frame in frames]
