"""Vectors of examples kept between fittings: one changed example costs one text to embed, and not fifteen thousand.

One file for each encoder, beside the heads, named by its id. It holds digests and vectors of the operator's examples, and no
text. A damaged file is as none.
"""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gateway.core.fingerprint import digest

Array = np.ndarray[Any, Any]
Encode = Callable[[Sequence[str]], Array]

MOST = 40_000
"""Vectors in one file: 60 MB of 384 numbers each. Those of the latest fitting stay, of the others what there is room for."""
_DIGEST = hashlib.sha256().digest_size
_KEY = 16


def encoded(directory: Path, encoder: str, texts: Sequence[str], encode: Encode) -> Array:
    """As `encode(texts)`, which is asked for those alone that are not known. Raises what it raises."""
    path = directory / f"vectors-{digest(encoder)[:16]}.bin"
    keys = [hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_KEY).digest() for text in texts]
    known = _load(path)
    missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
    if missing:
        known.update(zip(missing, encode(list(missing.values())), strict=True))
        _save(path, keys, known)
    return np.stack([known[key] for key in keys]).astype(np.float32)


def _load(path: Path) -> dict[bytes, Array]:
    try:
        data = path.read_bytes()
    except OSError:
        return {}
    if hashlib.sha256(memoryview(data)[_DIGEST:]).digest() != data[:_DIGEST]:
        return {}
    with np.load(io.BytesIO(data[_DIGEST:]), allow_pickle=False) as file:
        keys, rows = file["keys"].tobytes(), file["rows"]
    return {keys[at * _KEY : (at + 1) * _KEY]: row for at, row in enumerate(rows)}


def _save(path: Path, latest: Sequence[bytes], known: dict[bytes, Array]) -> None:
    """Written aside and renamed. A folder that cannot be written costs the next fitting its time, and nothing else."""
    kept = list(dict.fromkeys((*latest, *reversed(known))))[:MOST]
    buffer = io.BytesIO()
    rows = np.stack([known[key] for key in kept]).astype(np.float32)
    np.savez(buffer, keys=np.frombuffer(b"".join(kept), np.uint8), rows=rows)
    aside = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, aside = tempfile.mkstemp(dir=path.parent, prefix=".vectors-")
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(buffer.getbuffer()).digest())
            file.write(buffer.getbuffer())
        Path(aside).replace(path)
    except OSError:
        if aside:
            Path(aside).unlink(missing_ok=True)
