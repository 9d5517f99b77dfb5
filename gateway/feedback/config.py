"""The `feedback:` section."""

from __future__ import annotations

import msgspec

from gateway.core.units import Duration


class FeedbackConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    remember: Duration = Duration(3600.0)
    """How long processes that share a Redis know each other's exchanges, so that each can take ratings of all of them.
    `0s`: each takes ratings of its own only."""
