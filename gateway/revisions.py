"""A digest for each route of all that can change its answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from gateway.config import Config, RouteConfig
from gateway.core.fingerprint import digest
from guardrails.config import GuardrailConfig


def revisions(config: Config, base: Path) -> dict[str, str]:
    """A digest for each route of all that can change its answers: part of every cache key, so that an edited
    configuration never serves what the old one let through."""
    models = _plain(config.models)
    return {
        name: digest(
            [_plain(route), _file_of(route, base), [_check_of(config.guardrails[c]) for c in route.guardrails], models]
        )
        for name, route in config.all_routes().items()
    }


def _plain(value: Any) -> Any:
    """As JSON values; a secret as its stars, so that a rotated key empties no cache."""
    return msgspec.to_builtins(value, enc_hook=repr)


def _check_of(check: GuardrailConfig) -> Any:
    """A check as JSON values, with its classifier's files instead of their place."""
    if check.model is None or check.use == "remote":
        return _plain(check)
    from guardrails.asking.outside import weights_of

    return _plain(msgspec.structs.replace(check, model=weights_of(check.model)))


def _file_of(route: RouteConfig, base: Path) -> str:
    """The content of the file that a route's examples are in, if they are in one."""
    examples = route.intents.examples if route.intents else None
    return (base / examples).read_text("utf-8") if isinstance(examples, str) else ""
