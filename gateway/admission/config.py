"""The `access:` section and a route's `limits:`."""

from __future__ import annotations

import msgspec

from gateway.core.priority import Priority


class AccessConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`keys` is the path of the key file, relative to the config file. None: open on loopback, refused elsewhere."""

    keys: str | None = None


class LimitsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A route's own limits, counted for each key. None means no limit."""

    rpm: int | None = None
    """Requests in any minute."""
    tpm: int | None = None
    """Tokens in any minute, counted after each answer: a burst may pass it by what was already under way."""
    concurrency: int | None = None
    """Requests under way at one time, in this process."""
    priority: Priority | None = None
    """Of requests whose key has none: who goes first where a model's places are taken."""


class KeyEntry(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One key of the key file. `hash` is SHA-256 in hex of the whole key; the key itself is kept nowhere."""

    id: str
    hash: str
    name: str = ""
    tenant: str = "default"
    models: list[str] | None = None
    """Aliases it may ask for; absent means all."""
    admin: bool = False
    rpm: int | None = None
    tpm: int | None = None
    concurrency: int | None = None
    priority: Priority | None = None
    """Whose requests go first where a model's places are taken; absent: the route's, else normal."""
    names_users: bool = True
    """May say on whose behalf it asks (`x-tidegate-user`)."""
    created: str = ""
    expires: str | None = None
    """ISO 8601 date or time in UTC; refused from then on."""
    revoked: bool = False


class KeyFile(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The key file's one top-level object."""

    version: int = 1
    keys: list[KeyEntry] = []
