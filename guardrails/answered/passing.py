"""The remedy `pass`: a check whose other remedies are spent lets the answer go, and flags what it would have stopped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from gateway.core.exchange import Exchange
from gateway.core.facts import Key
from gateway.core.ports import Session, Transform
from guardrails.config import GuardrailConfig


class Passing:
    """Transform: the check as it is configured, or, once it is to let an answer pass, as it would be with `flag`."""

    def __init__(self, check: GuardrailConfig, make: Callable[[GuardrailConfig], Transform]) -> None:
        self._strict = make(check)
        self._lenient = make(lenient(check))
        self.name = self._strict.name
        self.consumes: tuple[Key[Any], ...] = self._strict.consumes
        self.produces: tuple[Key[Any], ...] = self._strict.produces

    def open(self, exchange: Exchange) -> Session | None:
        return (self._lenient if self.name in exchange.passing else self._strict).open(exchange)


def lenient(check: GuardrailConfig) -> GuardrailConfig:
    """The same check with nothing that stops an answer: what it masks it still masks."""
    actions = {kind: "log" if action == "block" else action for kind, action in (check.actions or {}).items()}
    return msgspec.structs.replace(
        check,
        action="mask" if check.action == "mask" else "flag",
        actions=actions or None,
        then=None,
        attempts=None,
        reply=None,
        handoff=None,
    )
