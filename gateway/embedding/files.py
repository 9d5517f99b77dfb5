"""Where built encoders lie, and under which names.

A built encoder is one folder, `minilm-<precision>-<content id>`, with `model.onnx`, `tokenizer.json` and
`manifest.json`. The content id is a digest of everything that goes into it (source files, graph recipe, precision), so
a new recipe never meets an old file, and two gateways that agree on the name agree on the vectors.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import msgspec

from gateway.core.fingerprint import digest
from gateway.embedding.graph import MAX_TOKENS, Precision
from gateway.embedding.weights import PINS

RECIPE = 1
"""Goes up with every change of the graph that changes a vector."""
MODEL = "model.onnx"
MANIFEST = "manifest.json"
BUILD_COMMAND = "tidegate models build"


class Manifest(msgspec.Struct, frozen=True):
    """What is in a folder. `files`: name to SHA-256."""

    id: str
    files: dict[str, str]


class ModelMissing(Exception):
    """The encoder's files are not there, or are damaged. The message names the folder and the command."""


def models_dir() -> Path:
    """`TIDEGATE_MODELS_DIR`, or `tidegate/models` under `XDG_CACHE_HOME` or `~/.cache`."""
    given = os.environ.get("TIDEGATE_MODELS_DIR")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tidegate" / "models"


def encoder_id(precision: Precision) -> str:
    """`minilm-int8-1a2b3c4d5e6f`: names model, precision and content."""
    content = digest({"sources": PINS, "recipe": RECIPE, "precision": precision, "max_tokens": MAX_TOKENS})
    return f"minilm-{precision}-{content[:12]}"


def folder(directory: Path, precision: Precision) -> Path:
    return directory / encoder_id(precision)


def checked(directory: Path, precision: Precision) -> Path:
    """The built encoder's folder, its files read and compared with the manifest. Raises `ModelMissing`."""
    path = folder(directory, precision)
    try:
        manifest = msgspec.json.decode((path / MANIFEST).read_bytes(), type=Manifest)
        damaged = [name for name, known in manifest.files.items() if file_digest(path / name) != known]
    except FileNotFoundError:
        raise ModelMissing(f"The text encoder is not in {path}. Build it with: {BUILD_COMMAND}") from None
    except (OSError, msgspec.DecodeError) as error:
        raise ModelMissing(f"The text encoder in {path} cannot be read ({error}). Run: {BUILD_COMMAND}") from error
    if damaged or manifest.id != path.name:
        raise ModelMissing(
            f"The text encoder in {path} is damaged: {', '.join(damaged) or MANIFEST}. "
            f"Delete that folder and run: {BUILD_COMMAND}"
        )
    return path


def file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
