"""Fitted heads on disk: fitting 15,000 examples takes half a minute, loading the result a few milliseconds.

A head's file is named by a digest of its examples, its encoder and the way of fitting, so a changed example makes another
file and never a wrong one. It holds vectors of the operator's examples, digests of their pieces, and no text.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import numpy as np

from gateway.core.fingerprint import digest
from routing.calibration import Calibration
from routing.examples import Examples
from routing.head import Head, Layer
from routing.pieces import Pieces

FITTING = 7
"""Goes up with every change of the fitting or calibration."""
_DIGEST = hashlib.sha256().digest_size
_ARRAYS = ("weights", "biases", "bank", "starts", "outside", "names")
_PIECES = ("keys", "starts", "owners", "gains", "base")


class _Meta(msgspec.Struct):
    encoder: str
    kind: str
    intents: tuple[str, ...]
    calibration: Calibration
    pull: float


def head_key(examples: Examples, encoder: str) -> str:
    return digest([FITTING, encoder, examples.texts, examples.labels, examples.outside])


@contextmanager
def alone(directory: Path) -> Iterator[None]:
    """While one process learns a head, others wait for it instead of learning it too: workers that start together want the
    same one. Where no lock can be had, nobody waits."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        file = (directory / ".learning.lock").open("w")
    except OSError:
        yield
        return
    with file:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)  # ends with the process, however that ends
        yield


def save_head(directory: Path, key: str, head: Head) -> None:
    """Written aside and renamed, so that a reader sees a whole file or none. Raises OSError."""
    meta = msgspec.json.encode(_Meta(head.encoder, head.kind, head.intents, head.calibration, head.layer.pull))
    buffer = io.BytesIO()
    arrays = {name: getattr(head.layer, name) for name in _ARRAYS}
    if head.layer.pieces is not None:
        arrays |= {f"pieces_{name}": getattr(head.layer.pieces, name) for name in _PIECES}
    np.savez(buffer, meta=np.frombuffer(meta, np.uint8), **arrays)
    directory.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=directory, prefix=".head-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(buffer.getbuffer()).digest())
            file.write(buffer.getbuffer())
        Path(name).replace(_path(directory, key))
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def load_head(directory: Path, key: str, encoder: str) -> Head | None:
    """None if there is none, if it is damaged, or if it is another encoder's: then it is fitted anew."""
    try:
        data = _path(directory, key).read_bytes()
    except OSError:
        return None
    if hashlib.sha256(memoryview(data)[_DIGEST:]).digest() != data[:_DIGEST]:
        return None
    with np.load(io.BytesIO(data[_DIGEST:]), allow_pickle=False) as file:
        meta = msgspec.json.decode(file["meta"].tobytes(), type=_Meta)
        pieces = Pieces(**{name: file[f"pieces_{name}"] for name in _PIECES}) if "pieces_keys" in file else None
        layer = Layer(**{name: file[name] for name in _ARRAYS}, pull=meta.pull, pieces=pieces)
    head = Head(meta.encoder, meta.kind, meta.intents, layer, meta.calibration)
    return head if head.encoder == encoder else None


def _path(directory: Path, key: str) -> Path:
    return directory / f"head-{key}.bin"
