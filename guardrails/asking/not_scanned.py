"""Why a check could not look: told by whoever was asked, recorded in the verdict, never taken for "passed"."""

from __future__ import annotations


class NotScanned(Exception):
    """`reason` is a short rule name for the verdict (`unclear`, `busy`, `too_long`, `upstream_failed`); no user text."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
