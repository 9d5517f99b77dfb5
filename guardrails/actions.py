"""What to do with a span, by its kind: a check's `action`, but for the entities that `actions:` names."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from gateway.core.verdict import Action
from guardrails.config import GuardrailConfig


class Actions(msgspec.Struct, frozen=True):
    """`of(kind)` is `mask`, `block`, `flag`, `allow` or `repair`."""

    default: Action
    by_kind: Mapping[str, Action] = {}

    def of(self, kind: str) -> Action:
        return self.by_kind.get(kind, self.default) if self.by_kind else self.default

    def can(self, action: Action) -> bool:
        """Whether it is done to any kind at all."""
        return action == self.default or action in self.by_kind.values()


def actions_of(check: GuardrailConfig) -> Actions:
    """The configuration's word for letting pass and counting is `log`; everywhere else it is `flag`."""
    named = {kind: "flag" if action == "log" else action for kind, action in (check.actions or {}).items()}
    return Actions(check.action, named)  # type: ignore[arg-type]
