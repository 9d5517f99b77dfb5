"""The mark that tells a client to take back what it showed, the same in every dialect.

    "tidegate": {"retract": true, "check": "toxicity", "category": "toxicity"}

It stands beside the dialect's own content-filter ending, in a field that clients which do not know it ignore."""

from __future__ import annotations

from typing import Any

from gateway.core.events import Blocked


def mark(blocked: Blocked) -> dict[str, Any]:
    """The field, for an answer whose text went out while it was looked at; none for any other."""
    if not blocked.retract:
        return {}
    return {"tidegate": {"retract": True, "check": blocked.check, "category": blocked.category}}
