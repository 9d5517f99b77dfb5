"""One spelling for one value: canonical JSON and keyed digests of it.

Used for cache keys, partitions, config revisions and message hashes. Field order never matters; every field does.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import msgspec

_ENCODER = msgspec.json.Encoder(order="sorted")


def canonical(value: Any) -> bytes:
    """JSON with sorted object keys at every depth, no spaces. Lists keep their order."""
    return _ENCODER.encode(value)


def digest(value: Any) -> str:
    """32 hex digits of SHA-256 over the canonical form. For revisions and ids that need no secret."""
    return hashlib.sha256(canonical(value)).hexdigest()[:32]


def keyed(secret: bytes, value: Any) -> str:
    """HMAC-SHA256 in hex over the canonical form: without the secret nobody can guess a key from a prompt."""
    return hmac.new(secret, canonical(value), hashlib.sha256).hexdigest()
