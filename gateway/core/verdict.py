"""What a check said about an exchange. A check that did not run says so; it is never logged as passed."""

from __future__ import annotations

from typing import Literal

import msgspec

Action = Literal["allow", "mask", "block", "flag", "repair", "handoff", "log", "not_scanned"]
Side = Literal["input", "output", "retrieved"]


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """One check's outcome on one side of one exchange. Holds no user text."""

    check: str
    """The operator's name for the check, a key of `guardrails:`."""
    action: Action
    side: Side
    count: int = 0
    """How many spans were masked, blocked or flagged."""
    category: str = ""
    """Public category, such as `prompt_injection`; safe to show to the client."""
    score: float | None = None
    reason: str = ""
    """For `not_scanned`: `timeout`, `crashed`, `breaker_open`. For others a short rule name. Never user text."""
    micros: int = 0
    """How long the check took, in microseconds."""

    @property
    def header(self) -> str:
        """The form of the `x-tidegate-guardrails` header: `private=mask:2`, `attacks=allow`."""
        return f"{self.check}={self.action}:{self.count}" if self.count else f"{self.check}={self.action}"
