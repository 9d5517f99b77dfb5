"""Virtual keys: made at random, kept as hashes in one file, read again when the file changes.

A key is `tg_<id>_<secret>` with 256 random bits in the secret, so a plain SHA-256 is enough at rest: there is nothing
to guess. The id finds the entry; the hash is compared in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from gateway.admission.config import KeyEntry, KeyFile
from gateway.core.clock import Clock
from gateway.core.errors import Unauthenticated
from gateway.core.exchange import ANONYMOUS, Principal

_KEY = re.compile(r"tg_([0-9a-f]{12})_[A-Za-z0-9_-]{43}")
_LOOK_AGAIN = 2_000_000_000
"""Nanoseconds between looks at the file: how long a revoked key may still work."""
_NOBODY = "0" * 64


class Keyring:
    """The keys of one file. `authenticate` is on the request path; everything else is the command line's."""

    def __init__(self, path: Path, clock: Clock, *, failed: Callable[[str], None] | None = None) -> None:
        self._path = path
        self._clock = clock
        self._failed = failed or (lambda _message: None)
        self._entries: dict[str, tuple[str, int | None, Principal]] = {}
        self._stamp: tuple[int, int] | None = None
        self._next_look = 0
        self._load()

    def authenticate(self, credential: str | None) -> Principal:
        """The key's principal. Raises `Unauthenticated`, in the same words for every reason but a missing key."""
        if credential is None:
            raise Unauthenticated("No API key was sent; use the header Authorization: Bearer <key>.")
        now = self._clock.now()
        if now >= self._next_look:
            self._next_look = now + _LOOK_AGAIN
            self._look_again()
        match = _KEY.fullmatch(credential)
        digest, expires, principal = self._entries.get(match[1] if match else "", (_NOBODY, None, ANONYMOUS))
        same = hmac.compare_digest(hash_of(credential), digest)
        if not same or (expires is not None and self._clock.wall() >= expires):
            raise Unauthenticated("The API key is not valid.")
        return principal

    def _look_again(self) -> None:
        try:
            if _stamp_of(self._path) != self._stamp:
                self._load()
        except (OSError, ValueError) as error:
            self._failed(f"{self._path.name}: {error}; the keys read before stay in force")

    def _load(self) -> None:
        stamp = _stamp_of(self._path)
        entries = read_key_file(self._path).keys
        self._entries = {
            entry.id: (entry.hash, expiry_of(entry), principal_of(entry)) for entry in entries if not entry.revoked
        }
        self._stamp = stamp


class OpenAccess:
    """No keys configured: everyone on the loopback address is the one anonymous principal."""

    def authenticate(self, _credential: str | None) -> Principal:
        return ANONYMOUS


def principal_of(entry: KeyEntry) -> Principal:
    return Principal(
        key_id=entry.id,
        tenant=entry.tenant,
        models=frozenset(entry.models) if entry.models is not None else None,
        admin=entry.admin,
        rpm=entry.rpm,
        tpm=entry.tpm,
        concurrency=entry.concurrency,
        priority=entry.priority,
        names_users=entry.names_users,
    )


def hash_of(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def new_key() -> tuple[str, str]:
    """A fresh key and its id. The key is shown once and kept nowhere."""
    id = secrets.token_hex(6)
    return f"tg_{id}_{secrets.token_urlsafe(32)}", id


def read_key_file(path: Path) -> KeyFile:
    """Raises OSError, or ValueError naming the entry that is wrong."""
    import yaml

    try:
        raw = yaml.safe_load(path.read_text("utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path.name} is not valid YAML: {error}") from None
    try:
        return msgspec.convert({} if raw is None else raw, KeyFile)
    except msgspec.ValidationError as error:
        raise ValueError(f"{path.name}: {error}") from None


def write_key_file(path: Path, file: KeyFile) -> None:
    """Whole or not at all: a reader never sees half a file. Readable by its owner only."""
    import yaml

    text = "# Hashes only: a key is shown once, when it is made. Managed by `tidegate keys`.\n" + yaml.safe_dump(
        msgspec.to_builtins(file), sort_keys=False
    )
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _stamp_of(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_ino


def expiry_of(entry: KeyEntry) -> int | None:
    """Unix nanoseconds, or None. Raises ValueError for what is no date."""
    if entry.expires is None:
        return None
    try:
        when = datetime.fromisoformat(entry.expires)
    except ValueError:
        raise ValueError(f"key {entry.id}: expires: {entry.expires!r} is not an ISO 8601 date") from None
    return int((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1e9)
