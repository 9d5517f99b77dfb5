"""How one configured check works on answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gateway.core.events import Remedy
from guardrails.actions import Actions, actions_of
from guardrails.answered.remedies import remedies_of
from guardrails.config import GuardrailConfig

if TYPE_CHECKING:
    from guardrails.kind import Kind


class OutputRules(msgspec.Struct, frozen=True, kw_only=True):
    """How one check that finds spans works on answers."""

    name: str
    category: str
    actions: Actions
    closed: bool
    mode: str
    """As in the configuration: `window`, `hold`, `full`, `audit`, `retract` or `off`."""
    remedies: tuple[Remedy, ...] = ()

    @property
    def acts(self) -> bool:
        """Whether it may change or stop an answer. Else it looks, and says what it saw."""
        return self.mode != "audit" and (self.actions.can("mask") or self.actions.can("block"))


def rules_of(name: str, check: GuardrailConfig, kind: Kind) -> OutputRules:
    return OutputRules(
        name=name,
        category=kind.category,
        actions=actions_of(check),
        closed=check.on_error == "closed",
        mode=check.stream or kind.streams[0],
        remedies=remedies_of(check),
    )
