"""Where built model files live between starts.

The folder is ``$TIDEGATE_CACHE_DIR``, else ``$XDG_CACHE_HOME/tidegate``, else ``~/.cache/tidegate``. A file's name holds
a hash of the code that builds it, so a newer version never serves an older version's file, and two processes that
build the same file at the same time each put a whole one in place.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path

#: How many versions of one model are kept; the least recently used go first.
KEPT = 4
#: The modules whose code decides what is in a file.
SOURCES = ("copyhead.py", "gguf.py", "templates.py", "vocabulary.py")


def cache_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """The cache folder, not necessarily there yet."""
    if chosen := environ.get("TIDEGATE_CACHE_DIR"):
        return Path(chosen)
    if home := environ.get("XDG_CACHE_HOME"):
        return Path(home) / "tidegate"
    return Path.home() / ".cache" / "tidegate"


def code_hash(salt: str = "") -> str:
    """Twelve hex digits that change with the building code, the GGUF writer's version or ``salt``."""
    digest = hashlib.sha256(salt.encode())
    digest.update(version("gguf").encode())
    for source in SOURCES:
        digest.update((Path(__file__).parent / source).read_bytes())
    return digest.hexdigest()[:12]


def model_file(
    name: str, build: Callable[[Path], None], *, salt: str = "", environ: Mapping[str, str] = os.environ
) -> tuple[Path, bool]:
    """The cached file of model ``name``, and whether it had to be built. ``salt``: what else the content depends on.

    Raises OSError, naming the folder and the variable that moves it, when the folder cannot be written.
    """
    folder = cache_dir(environ)
    path = folder / f"{name}-{code_hash(salt)}.gguf"
    if path.exists():
        with contextlib.suppress(OSError):
            path.touch()
        return path, False
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, draft = tempfile.mkstemp(dir=folder, prefix=f".{name}-", suffix=".part")
        os.close(handle)
    except OSError as error:
        raise OSError(
            error.errno,
            f"cannot write model files: {error.strerror}; set TIDEGATE_CACHE_DIR to another folder",
            str(folder),
        ) from error
    try:
        build(Path(draft))
        os.replace(draft, path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
    _prune(folder, name, path)
    return path, True


def _prune(folder: Path, name: str, current: Path) -> None:
    """Drop all but the newest few versions. A server that has one open keeps its pages: Linux unlinks only the name."""
    with contextlib.suppress(OSError):
        versions = sorted(folder.glob(f"{name}-" + "[0-9a-f]" * 12 + ".gguf"), key=lambda p: p.stat().st_mtime)
        for old in versions[:-KEPT]:
            if old != current:
                old.unlink(missing_ok=True)
