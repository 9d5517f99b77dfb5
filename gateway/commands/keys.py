"""`tidegate keys create | list | revoke | rotate`: virtual keys in the key file, as hashes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gateway.admission.config import KeyEntry, KeyFile
from gateway.admission.keyring import expiry_of, hash_of, new_key, read_key_file, write_key_file


def add(commands: Any) -> None:
    parser = commands.add_parser("keys", help="make, list, revoke and rotate virtual keys")
    actions = parser.add_subparsers(dest="action", required=True)
    for name, run, words in (
        ("create", _create, "make a key; it is printed once and stored as a hash"),
        ("list", _list, "show the keys, never their secrets"),
        ("revoke", _revoke, "stop a key from working, within two seconds on running gateways"),
        ("rotate", _rotate, "make a new secret for a key and revoke the old one"),
    ):
        action = actions.add_parser(name, help=words)
        action.add_argument("--file", type=Path, default=Path("keys.yaml"), help="the key file (default: keys.yaml)")
        action.set_defaults(run=_told(run))
        if name in ("revoke", "rotate"):
            action.add_argument("id", help="the key's id: the part after tg_")
        if name == "create":
            _create_options(action)


def _create_options(action: argparse.ArgumentParser) -> None:
    action.add_argument("--name", default="", help="a name for people")
    action.add_argument("--tenant", default="default")
    action.add_argument("--models", help="comma-separated aliases it may ask for (default: all)")
    action.add_argument("--rpm", type=int, help="requests a minute")
    action.add_argument("--tpm", type=int, help="tokens a minute")
    action.add_argument("--concurrency", type=int, help="requests at one time")
    action.add_argument("--expires", help="ISO 8601 date, UTC")
    action.add_argument("--admin", action="store_true", help="may use /admin")
    action.add_argument("--no-user-header", action="store_true", help="x-tidegate-user is not trusted from this key")


def _told(run: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """Says what is wrong with the file or an option, and changes nothing then."""

    def guarded(options: argparse.Namespace) -> int:
        try:
            return run(options)
        except (OSError, ValueError) as error:
            print(error, file=sys.stderr)
            return 2

    return guarded


def _read(path: Path) -> KeyFile:
    return read_key_file(path) if path.exists() else KeyFile()


def _create(options: argparse.Namespace) -> int:
    file = _read(options.file)
    key, id = new_key()
    entry = KeyEntry(
        id=id,
        hash=hash_of(key),
        name=options.name,
        tenant=options.tenant,
        models=[name.strip() for name in options.models.split(",")] if options.models else None,
        admin=options.admin,
        rpm=options.rpm,
        tpm=options.tpm,
        concurrency=options.concurrency,
        names_users=not options.no_user_header,
        created=_now(),
        expires=options.expires,
    )
    expiry_of(entry)
    file.keys.append(entry)
    write_key_file(options.file, file)
    print(key)
    return 0


def _list(options: argparse.Namespace) -> int:
    keys = _read(options.file).keys
    if not keys:
        print(f"{options.file} holds no keys; make one with: tidegate keys create")
    for entry in keys:
        state = "revoked" if entry.revoked else "active"
        models = ",".join(entry.models) if entry.models is not None else "all models"
        print(f"{entry.id}  {state:8}  {entry.tenant}  {models}  {entry.name}".rstrip())
    return 0


def _find(file: KeyFile, id: str, path: Path) -> KeyEntry:
    for entry in file.keys:
        if entry.id == id:
            return entry
    raise SystemExit(f"{path} has no key with the id {id!r}; see: tidegate keys list")


def _revoke(options: argparse.Namespace) -> int:
    file = _read(options.file)
    _find(file, options.id, options.file).revoked = True
    write_key_file(options.file, file)
    print(f"revoked {options.id}")
    return 0


def _rotate(options: argparse.Namespace) -> int:
    file = _read(options.file)
    old = _find(file, options.id, options.file)
    key, id = new_key()
    fresh = KeyEntry(**{field: getattr(old, field) for field in old.__struct_fields__})
    fresh.id, fresh.hash, fresh.created, fresh.revoked = id, hash_of(key), _now(), False
    old.revoked = True
    file.keys.append(fresh)
    write_key_file(options.file, file)
    print(key)
    return 0


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
