"""What passes unread, for `tidegate check`: on each route, and what is kept at which provider."""

from __future__ import annotations

import os
from typing import Any

from gateway.relay.config import unread
from gateway.relay.operations import HELD, TABLE

_UNREAD = tuple(dict.fromkeys(row.operation for row in TABLE if row.model and row.operation != "speech"))
"""What names a model and holds nothing that checks read."""


def relayed_of(config: Any, name: str) -> list[str]:
    """Lines for one route; none where it has no checks."""
    route = config.all_routes()[name]
    if not route.guardrails:
        return []
    held = [operation for operation in HELD if operation in config.relay.providers()] if name == "default" else []
    what = ", ".join([*_UNREAD, *held])
    must = unread({check: config.guardrails[check].on_error for check in route.guardrails})
    if must and route.relay is None:
        told = f"refused: {', '.join(must)} must run and cannot read them ({what})"
    else:
        told = f"unscanned: no check of this route reads them, and their answers neither ({what})"
    return [told, "speech: its text is checked and masked like a question; the sound is not checked"]


def warnings(config: Any) -> list[str]:
    found = []
    kept = config.relay.providers()
    if kept and config.server.secret is None and len(os.environ.get("TIDEGATE_SECRET", "")) < 16:
        found.append("relay: server.secret is absent; with the next start every id of a file or a batch is forgotten")
    if "batches" in kept:
        found.append(
            f"relay.batches: a batch may name any model of {kept['batches']!r}, and no check sees what it asks or is "
            "answered; keys with `models` may not use batches"
        )
    return found
