"""Names of people, as telemetry may hold them: a keyed hash, the same within one process and useless outside it."""

from __future__ import annotations

import hashlib


class Pseudonyms:
    """Turns end-user and session names into short keyed hashes."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret[:64]

    def of(self, name: str) -> str:
        if not name:
            return ""
        return hashlib.blake2b(name.encode("utf-8", "surrogateescape"), key=self._secret, digest_size=8).hexdigest()
