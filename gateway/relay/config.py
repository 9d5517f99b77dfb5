"""The `relay:` section: which provider keeps files, uploads and batches for this gateway's clients, and whose they are."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping

import msgspec

from gateway.configuring.problems import did_you_mean
from gateway.core.request import Operation
from gateway.relay.operations import HELD
from gateway.relay.seal import Owner


class RelayConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Names of `providers:`. What has none is not relayed. Bodies that name a model need no entry."""

    files: str | None = None
    uploads: str | None = None
    batches: str | None = None
    owner: Owner = "key"
    """Who may see what was made: the key that made it, or all keys of its tenant."""

    def providers(self) -> dict[str, str]:
        """By operation."""
        return {name: given for name in HELD if (given := getattr(self, name)) is not None}


def problems(
    config: RelayConfig, providers: Collection[str], offers: Callable[[str], Collection[Operation]]
) -> Iterator[tuple[str, str]]:
    """`offers`: what a provider can be asked."""
    for operation, name in config.providers().items():
        if name not in providers:
            yield f"relay.{operation}", f"no provider is called {name!r}{did_you_mean(name, providers)}"
        elif operation not in offers(name):
            yield f"relay.{operation}", f"the provider {name!r} does not offer {operation}; see its `operations`"


def unread(checks: Mapping[str, str | None]) -> list[str]:
    """Of a route's checks, with their `on_error`: those without which nothing may pass."""
    return [name for name, on_error in checks.items() if on_error == "closed"]
