"""The `handoffs:` section: who is told, where, and how much."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from gateway.core.secret import Secret
from gateway.core.units import Duration


class HandoffConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One desk. Teams that are named elsewhere and have no entry here are told by nobody but the application, which
    reads `x-tidegate-handoff`."""

    url: str
    secret: Secret | None = None
    """Signs each message: `x-tidegate-signature: sha256=` and the HMAC-SHA256 of the body, in hex."""
    include: Literal["nothing", "masked"] = "nothing"
    """Whether the conversation goes along, as the checks masked it."""
    timeout: Duration = Duration(5.0)
    """For one try."""
    attempts: int = 4


def problems(config: Mapping[str, HandoffConfig]) -> Iterator[tuple[str, str]]:
    """(path, what is wrong) for every fault in the section."""
    for name, desk in config.items():
        path = f"handoffs.{name}"
        parts = urlsplit(desk.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
            yield f"{path}.url", "must be http://host/path or https://host/path, without a user name"
        if not 1 <= desk.attempts <= 10:
            yield f"{path}.attempts", "must be between 1 and 10"
        if not 0.1 <= desk.timeout <= 60:
            yield f"{path}.timeout", "must be between 100ms and 1m"
